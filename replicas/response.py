"""A reply of a replica: status and header lines at once, the body as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from replicas.body import Body
from replicas.errors import ReplyTooLarge


class Response:
    """Read it to the end, or close() it: until then it keeps its connection busy."""

    __slots__ = ("_drop", "body", "headers", "status")

    def __init__(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: Body, drop: Callable[[], None]
    ) -> None:
        self.status = status
        self.headers = headers
        """As received, names in lower case."""
        self.body = body
        self._drop = drop

    @property
    def complete(self) -> bool:
        """Whether the last byte has come."""
        return self.body.ended

    def header(self, name: bytes) -> bytes | None:
        """Value of the first header called *name* (lower case)."""
        return next((value for known, value in self.headers if known == name), None)

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises ReplyTooLarge above *limit* bytes, BrokenReply, ReplyTimeout."""
        parts: list[bytes] = []
        size = 0
        try:
            while data := await self.body.chunk():
                size += len(data)
                if size > limit:
                    raise ReplyTooLarge(f"the reply has more than {limit} bytes")
                parts.append(data)
        finally:
            await self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raises BrokenReply, ReplyTimeout."""
        try:
            while data := await self.body.chunk():
                yield data
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the rest up: an unfinished exchange ends with its connection, which the replica sees."""
        if not self.complete:
            self._drop()
