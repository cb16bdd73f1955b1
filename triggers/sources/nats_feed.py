"""A connection to NATS that a source reads from for ever: a stream behind a consumer of ours, subjects, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from eventbus.diagnosis import diagnose
from eventbus.errors import BusError, Fenced, Missing, Unreachable
from eventbus.jetstream.api import ApiError, JetStream, api_of
from eventbus.jetstream.connection import Connection, Message
from triggers.sources.nats_stream import Place, Reader, Stored
from triggers.sources.source import SourceError

STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the next try; the last one repeats."""

Step: TypeAlias = Callable[[JetStream], Awaitable[None]]


async def nothing(_js: JetStream) -> None:
    return


class Feed:
    """*arrived* gets the messages of *place*, *passed* those of *subjects*, which nobody stores.

    *prepare* runs before the consumer is made, *first* once in the life of the consumer, after it is made.
    """

    def __init__(
        self,
        options: Callable[[], Mapping[str, str]],
        name: str,
        *,
        place: Place | None = None,
        arrived: Callable[[Stored], None] = lambda _: None,
        subjects: tuple[str, ...] = (),
        passed: Callable[[Message], None] = lambda _: None,
        prepare: Step = nothing,
        first: Step = nothing,
    ) -> None:
        self._options = options
        self._connection = Connection(options, name=name)
        self._connection.on_closed.append(self._closed)
        self._js = JetStream(self._connection, api=api_of(options()))
        self._reader = Reader(self._js, place, arrived) if place is not None else None
        self._subjects, self._passed = subjects, passed
        self._prepare, self._first = prepare, first
        self._open = False
        self._ended = asyncio.Event()
        self._reading = False
        self._failure: BusError | None = Unreachable(f"{name}: nothing was answered yet")

    @property
    def connected(self) -> bool:
        return self._connection.connected and self._reading

    @property
    def trouble(self) -> BusError | None:
        return None if self.connected else self._failure or self._connection.trouble

    def _closed(self, reason: str) -> None:
        """The library gave up: connect anew."""
        self._open = False
        self._failure = Unreachable(reason)
        self._ended.set()

    def acknowledge(self, stored: Stored) -> None:
        if self._reader is not None:
            self._reader.acknowledge(stored)

    async def publish(self, subject: str, payload: bytes, *, stored: bool) -> None:
        """Put a message on a subject; *stored*: wait for the acknowledgement of its stream. Raises BusError."""
        if stored:
            await self._js.store(subject, payload)
        elif self._connection.connected:
            await self._connection.send(subject, payload)
        else:
            raise Unreachable("there is no connection", hint=str(self.trouble or ""))

    async def run(self) -> None:
        """Read for ever; raises SourceError when another proxy reads instead."""
        tried = 0
        try:
            while True:
                try:
                    await self._once()
                    tried = 0
                except Fenced as error:
                    raise SourceError(str(error)) from error
                except BusError as error:
                    self._failure = await self._cause(error)
                    await asyncio.sleep(STEPS[min(tried, len(STEPS) - 1)])
                    tried += 1
                finally:
                    self._reading = False
        finally:
            await self._connection.close()

    async def _cause(self, error: BusError) -> BusError:
        """What is in the way, where the client library did not say."""
        if isinstance(error, ApiError):
            return Missing(f"the stream cannot be read: {error}", hint="check stream and subject of the event source")
        if error.reason != Unreachable.reason or self._connection.connected:
            return error
        return await diagnose("nats", self._options()) or error

    async def _once(self) -> None:
        """Until the consumer has to be made anew, or the connection."""
        if not self._open:
            await self._connection.connect()
            self._open = True
            self._ended.clear()
            for subject in self._subjects:
                await self._connection.listen(subject, self._passed)
        await self._prepare(self._js)
        if self._reader is None:
            self._reading, self._failure = True, None
            await self._ended.wait()
            return
        await self._reader.take()
        if self._reader.first:
            await self._first(self._js)
            self._reader.finished()
            await self._reader.take()
        self._reading, self._failure = True, None
        await self._reader.read()
