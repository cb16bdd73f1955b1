"""A Redis server in front of a bus: each publish is an entry of the stream of its subject, as Dapr writes them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping

import msgspec

from api.meta import Key
from eventbus.errors import BusError, Unreachable
from eventbus.fronted.front import Outgoing
from eventbus.redis.connection import Connection, Entry
from eventbus.redis.server import read_server, seconds

BATCH = 200
"""Entries that go together."""
WATCH = 1.0
"""Seconds without a publish after which the server is asked whether it is there."""
AGAIN = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds between tries to connect; the last one repeats."""


class _Waiting:
    __slots__ = ("done", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class RedisFront:
    """See eventbus.fronted.front.Front. Options: those of server.py, maxLenApprox, streamTTL.

    What was not answered when a connection broke is sent again: an entry that is there twice is one event to the
    bridge, by its source and id.
    """

    bounded = names = False

    def __init__(self, key: Key, options: Mapping[str, str]) -> None:
        self._key = key
        self._server = read_server(options)
        self._connection = Connection(self._server, f"evoke-{key}")
        self._most = int(options.get("maxLenApprox") or 0)
        self._age = seconds(options, "streamTTL", 0.0)
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._failure: BusError | None = Unreachable(f"{self._server.where} has not answered yet")

    @property
    def where(self) -> str:
        return f"redis at {self._server.where}"

    @property
    def connected(self) -> bool:
        return self._running is not None and self._failure is None

    @property
    def trouble(self) -> BusError | None:
        return self._failure

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run(), name=f"redis of {self._key}")

    def wide(self, subscribed: str) -> bool:  # noqa: ARG002  # nobody has to be waited for
        return False

    def matches(self, subscribed: str, subject: str) -> bool:
        return subscribed == subject

    def submit(self, subject: str, message: Outgoing, within: float) -> Awaitable[None]:
        fields = {"data": message.payload}
        if message.metadata:
            fields["metadata"] = msgspec.json.encode(dict(message.metadata))
        oldest = f"{int((time.time() - self._age) * 1000)}-0" if self._age else ""
        waiting = _Waiting(Entry(subject, fields, self._most, oldest))
        self._waiting.append(waiting)
        self._work.set()
        return self._answer(waiting, within)

    async def _answer(self, waiting: _Waiting, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await waiting.done
        except TimeoutError:
            why = self._failure or f"{self._server.where} did not answer within {within:g} s"
            raise Unreachable(str(why), hint="publish again, same id") from None
        finally:
            waiting.done.cancel()

    async def _run(self) -> None:
        tried = 0
        while True:
            try:
                await self._connection.open()
                self._failure, tried = None, 0
                while True:
                    await self._turn()
            except BusError as error:
                self._failure = error
            await asyncio.sleep(AGAIN[min(tried, len(AGAIN) - 1)])
            tried += 1

    async def _turn(self) -> None:
        """Send what waits, oldest first; raises BusError when the connection does not hold."""
        while self._waiting and self._waiting[0].done.done():
            self._waiting.popleft()
        batch = [one for one in list(self._waiting)[:BATCH] if not one.done.done()]
        if not batch:
            self._work.clear()
            try:
                async with asyncio.timeout(WATCH):
                    await self._work.wait()
            except TimeoutError:
                await self._connection.ping()
            return
        for one, refusal in zip(batch, await self._connection.add_all([one.entry for one in batch]), strict=True):
            if one.done.done():
                continue
            if refusal is None:
                one.done.set_result(None)
            else:
                one.done.set_exception(refusal)

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        for one in self._waiting:
            one.done.cancel()
        await self._connection.close()
