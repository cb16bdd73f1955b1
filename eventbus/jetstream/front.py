"""Streams that somebody else made, in front of a bus: a topic is a subject of one of them, none is ever made here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from api import topics
from api.meta import Key
from eventbus.errors import BusError, Missing, Refused, TooLarge, Unreachable
from eventbus.fronted.front import Outgoing
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.publishing import MESSAGE_ID, NoStream, Publisher, refusal

DEADLINE = 9.0
"""Seconds until a publish that is not acknowledged raises."""
HEADER_ROOM = 1024
"""Bytes of a message that are not payload."""
WILDCARDS = frozenset("*>")
AGAIN = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds between tries to connect; the last one repeats."""


class StreamsFront:
    """See eventbus.fronted.front.Front. Options: of login.py."""

    bounded = names = False

    def __init__(self, key: Key, options: Mapping[str, str]) -> None:
        self._key = key
        self._connection = Connection(lambda: options, name=f"evoke {key}")
        self._connection.on_closed.append(self._closed)
        self._publisher = Publisher(self._connection, DEADLINE)
        self._url = options.get("url", "").rpartition("@")[2]
        self._ended = asyncio.Event()
        self._failure: BusError | None = Unreachable(f"{self._url} has not answered yet")
        self._running: asyncio.Task[None] | None = None

    @property
    def where(self) -> str:
        return f"streams of {self._url}"

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def trouble(self) -> BusError | None:
        return None if self.connected else self._failure or self._connection.trouble

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run(), name=f"streams of {self._key}")

    def wide(self, subscribed: str) -> bool:
        return bool(WILDCARDS & set(subscribed))

    def matches(self, subscribed: str, subject: str) -> bool:
        wanted, words = subscribed.split("."), subject.split(".")
        if wanted[-1] == ">" and len(words) >= len(wanted):
            wanted, words = wanted[:-1], words[: len(wanted) - 1]
        return len(wanted) == len(words) and all(one in {"*", word} for one, word in zip(wanted, words, strict=True))

    def submit(self, subject: str, message: Outgoing, within: float) -> Awaitable[None]:
        if (wrong := topics.nats(subject)) or WILDCARDS & set(subject):
            raise Refused(wrong or f"topic {subject} has wildcards, which only a subscription may have")
        if len(message.payload) + HEADER_ROOM > self._connection.max_payload:
            raise TooLarge(f"the event has {len(message.payload)} bytes, {self._url} takes less")
        # tasks begin in the order in which they were made
        return asyncio.get_running_loop().create_task(self._store(subject, message, within))

    async def _store(self, subject: str, message: Outgoing, within: float) -> None:
        # with the subject: a stream absorbs duplicates whatever subject they are on
        headers = {MESSAGE_ID: f"{message.dedupe}/{subject}"} if message.dedupe else None
        try:
            async with asyncio.timeout(within):
                ack = await self._publisher.publish(subject, message.payload, headers)
        except TimeoutError:
            raise Unreachable(str(self.trouble or f"{self._url} did not answer within {within:g} s")) from None
        except NoStream as error:
            raise Missing(f"no stream of {self._url} has subject {subject}", hint="make one there") from error
        if ack.error is not None:
            raise refusal(ack, subject)

    def _closed(self, reason: str) -> None:
        self._failure = Unreachable(reason)
        self._ended.set()

    async def _run(self) -> None:
        """Connect, and anew when the client library has given up."""
        tried = 0
        while True:
            self._ended.clear()
            try:
                await self._connection.connect()
                await self._publisher.start()
                tried, self._failure = 0, None
                await self._ended.wait()
            except BusError as error:
                self._failure = error
            await asyncio.sleep(AGAIN[min(tried, len(AGAIN) - 1)])
            tried += 1

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        self._publisher.stop("the bus was closed")
        await self._connection.close()
