"""Cells with compare-and-set on JetStream: one bucket per name."""

from __future__ import annotations

from datetime import timedelta

from eventbus.jetstream.api import WRONG_LAST, ApiError, Bucket, JetStream
from eventbus.state import Cell, Conflict


class Cells:
    def __init__(self, js: JetStream, name: str) -> None:
        self._bucket = Bucket(js, f"evk-state-{name}")

    async def ensure(self, ttl: timedelta) -> None:
        await self._bucket.ensure(ttl=ttl.total_seconds())

    async def get(self, key: str) -> Cell:
        found = await self._bucket.read(key)
        return Cell(found.data, found.seq) if found else Cell(b"", 0)

    async def put(self, key: str, value: bytes, revision: int) -> int:
        try:
            return await self._bucket.put(key, value, expected=revision)
        except ApiError as error:
            if error.number == WRONG_LAST:
                raise Conflict(f"somebody else changed {key}") from error
            raise
