"""Topics as streams: made when they are first used, how full they are, and whether the broker can still write them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from api.meta import Key
from eventbus import subjects
from eventbus.errors import BusFull, StoreFailed, Unreachable
from eventbus.jetstream.api import NANOSECONDS, PURGE_FAILED, ApiError, JetStream, StreamInfo

OUTSIDE_SHARE = 0.8
USAGE_AGE = 2.0
"""Seconds for which a reading of a topic's size is used, own publishes added."""
DEDUPE_WINDOW = 120


class Stream:
    """One topic's stream, with what we know about it."""

    def __init__(self, js: JetStream, names: subjects.Topic, subject: str, info: StreamInfo, *, grouped: bool) -> None:
        self._js, self.names, self._subject = js, names, subject
        self._max_bytes = info.config.max_bytes if info.config.max_bytes > 0 else 1 << 62
        self.used = info.state.bytes
        self.grouped = names.stream if grouped else ""
        self.failure: StoreFailed | None = None
        """Set while the broker is known not to write the stream."""
        self._read_at = time.monotonic()
        self._reading: asyncio.Task[None] | None = None

    async def admit(self, size: int) -> None:
        """Keep outside publishers out of the last fifth: what functions emit must fit, or nothing drains."""
        limit = self._max_bytes * OUTSIDE_SHARE
        age = time.monotonic() - self._read_at
        if age > USAGE_AGE and self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._measure())
        if self.used + size > limit and (age > 0.1 or self._reading is not None):
            await (self._reading or self._measure())
        if self.used + size > limit:
            raise BusFull(
                f"topic {self._subject} is full for publishers", hint="its subscribers are behind; see `evoke top`"
            )

    async def _measure(self) -> None:
        self._read_at = time.monotonic()
        try:
            self.used = (await self._js.stream_info(self.names.stream)).state.bytes
        except (ApiError, Unreachable):
            pass  # the publish itself will tell
        finally:
            self._reading = None

    async def examine(self) -> None:
        """Raise StoreFailed if the broker could not write the stream once: it stays so until it is started anew.

        It answers publishes to such a stream with nothing, and a purge, here of a subject without messages, with why.
        """
        self.failure = None
        try:
            await self._js.purge(self.names.stream, subject=self.names.barrier)
        except ApiError as error:
            if error.number == PURGE_FAILED:
                self.failure = StoreFailed(f"the broker cannot write topic {self._subject}: {error.description}")
                raise self.failure from error
        except Unreachable:
            pass  # then that is what is wrong

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


class Streams:
    """The topics of one bus that were used here."""

    def __init__(self, js: JetStream, bus: Key, *, max_bytes: int, grouped: bool) -> None:
        """*grouped*: publishes may go in batches."""
        self._js, self._bus, self._max_bytes, self._grouped = js, bus, max_bytes, grouped
        self._known: dict[str, Stream] = {}
        self._making: dict[str, asyncio.Lock] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._known.values())

    def drop(self, subject: str) -> None:
        """It was deleted behind our back, or the broker is just starting."""
        self._known.pop(subject, None)

    async def get(self, subject: str) -> Stream:
        """The topic's stream, made when it is first used here."""
        if known := self._known.get(subject):
            return known
        async with self._making.setdefault(subject, asyncio.Lock()):
            if subject not in self._known:
                self._known[subject] = await self._make(subject)
            return self._known[subject]

    async def _make(self, subject: str) -> Stream:
        names = subjects.topic(self._bus, subject)
        info = await self._js.ensure_stream({
            "name": names.stream,
            "subjects": [names.subjects],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_bytes": self._max_bytes,
            "duplicate_window": DEDUPE_WINDOW * NANOSECONDS,
            "max_consumers": 100_000,
            "allow_direct": True,
            "allow_atomic": True,
        })  # fmt: skip
        if self._grouped and not info.config.allow_atomic:
            info = await self._allow_batches(names.stream, info)
        return Stream(self._js, names, subject, info, grouped=self._grouped and info.config.allow_atomic)

    async def _allow_batches(self, stream: str, known: StreamInfo) -> StreamInfo:
        try:
            return await self._js.allow_batches(stream)
        except ApiError:
            return known  # publishes go singly

    def close(self) -> None:
        for stream in self:
            stream.close()
