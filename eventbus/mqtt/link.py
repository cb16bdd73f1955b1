"""One client of one MQTT broker: connects for ever, subscribes once per session, publishes in order.

MQTT 5 comes first; where the broker refuses it, 3.1.1. What is published while there is no connection waits its turn,
and what was not acknowledged when one broke goes out again before it: messages never overtake each other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from eventbus.errors import BusError, SessionTaken, Unreachable
from eventbus.mqtt.address import Address
from eventbus.mqtt.message import Message
from eventbus.mqtt.refusals import Silent, Unsupported
from eventbus.mqtt.wire import FIVE, THREE, Wire

STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before the next try to connect; the last one repeats."""
STABLE = 60.0
"""Seconds after which a connection counts as good, and an alarm about earlier ones ends."""
TOLERATED = 3
"""Connections that may break one after the other, each younger than that, before there is a pause."""
LONGEST_PAUSE = 60.0


class Pauses:
    """How long to wait before the next connection; pure. Two clients of one id must not take turns without end."""

    def __init__(self) -> None:
        self._refused = self._breaks = 0

    def refused(self) -> float:
        """A try to connect failed. Who is taken over is let in again at once: that was not why the last one broke."""
        self._refused, self._breaks = self._refused + 1, 0
        return STEPS[min(self._refused, len(STEPS)) - 1]

    def broke(self, lived: float, *, taken: bool) -> float:
        """A connection ended after *lived* seconds; *taken*: because another client came with our id."""
        self._refused = 0
        self._breaks = 1 if lived >= STABLE else self._breaks + 1
        if taken:
            return float(min(2 ** (self._breaks + 1), LONGEST_PAUSE))
        return STEPS[0] if self._breaks <= TOLERATED else float(min(2 ** (self._breaks - TOLERATED), LONGEST_PAUSE))

    @property
    def flapping(self) -> bool:
        return self._breaks > TOLERATED


class Subscription(msgspec.Struct, frozen=True):
    topic: str
    qos: int = 1


class _Outgoing:
    __slots__ = ("content_type", "done", "name", "payload", "retain", "topic")

    def __init__(self, topic: str, payload: bytes, content_type: str, *, retain: bool, name: str) -> None:
        self.topic, self.payload, self.content_type = topic, payload, content_type
        self.retain, self.name = retain, name
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Link:
    """*on_up* gets "session present" at every connection, before its messages."""

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        clean: bool = False,
        version: int = 0,
        subscription: Subscription | None = None,
        on_up: Callable[[bool], None] = lambda _: None,
        on_message: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self.address, self.client_id = address, client_id
        self._clean = clean
        self._version, self._pinned = version or FIVE, version > 0
        self._settled = False
        """A connection of this version stood once."""
        self._subscription = subscription
        self._subscribed = False
        self._session = False
        self._on_up, self._on_message = on_up, on_message
        self._wire: Wire | None = None
        self._waiting: dict[int, _Outgoing] = {}
        """In the order of their calls, until acknowledged."""
        self._unsent: deque[_Outgoing] = deque()
        self._in_flight = self._count = 0
        self._pauses = Pauses()
        self._alarm: tuple[float, BusError] | None = None
        self._failure: BusError | None = Unreachable(f"{address} has not answered yet")
        self.connected = False
        """Connected, and subscribed where there is something to subscribe to."""

    @property
    def version(self) -> int:
        """Protocol level in use: 5 is MQTT 5, 4 is 3.1.1."""
        return self._version

    @property
    def trouble(self) -> BusError | None:
        """Why it is not connected, or what went wrong with connections within the last minute."""
        if self._failure is not None:
            return self._failure
        if self._alarm is not None and time.monotonic() - self._alarm[0] < STABLE:
            return self._alarm[1]
        return None

    async def run(self) -> None:
        """Connect for ever."""
        try:
            while True:
                pause = await self._once()
                await asyncio.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311  # spreads clients, guards nothing
        finally:
            self.connected = False
            if self._wire is not None:
                self._wire.close()
                self._wire = None

    async def _once(self) -> float:
        """One connection, from its start to its end; answers the pause before the next."""
        began = 0.0
        wire: Wire | None = None
        try:
            wire = self._wire = Wire(
                self.address,
                self.client_id,
                version=self._version,
                clean=self._clean,
                on_up=self._came_up,
                on_message=self._on_message,
            )
            await wire.connect()
            await self._subscribe(wire)
            began = time.monotonic()
            self.connected, self._failure, self._settled = True, None, True
            self._send_again()
            await asyncio.shield(wire.ended)
        except BusError as error:
            return self._ended(error, began)
        finally:
            self.connected = False
            if wire is not None:
                wire.close()
        raise AssertionError("a wire ends with an error")

    def _came_up(self, session_present: bool) -> None:
        self._session = session_present
        self._on_up(session_present)

    async def _subscribe(self, wire: Wire) -> None:
        """Subscribe, unless the session has it: again would only make the broker repeat its retained messages."""
        wanted = self._subscription
        if wanted is None or (self._session and self._subscribed):
            return
        answer = wire.subscribe(wanted.topic, wanted.qos)
        await asyncio.wait((answer, wire.ended), return_when=asyncio.FIRST_COMPLETED)
        if wire.ended.done():
            wire.ended.result()
        answer.result()
        self._subscribed = True

    def _ended(self, error: BusError, began: float) -> float:
        self._failure = error
        self._wire = None
        refused = isinstance(error, Unsupported)
        if not self._pinned and (refused or (isinstance(error, Silent) and not self._settled)):
            # a broker that is too old refuses MQTT 5, or hangs up on it
            self._version = THREE if self._version == FIVE else FIVE
            return self._pauses.refused()
        if not began:
            return self._pauses.refused()
        taken = isinstance(error, SessionTaken)
        pause = self._pauses.broke(time.monotonic() - began, taken=taken)
        if taken or self._pauses.flapping:
            if not taken:  # many brokers end a connection that is taken over without a word
                error = SessionTaken(f"{error}, again and again: another client connects with id {self.client_id}")
            self._failure = error
            self._alarm = (time.monotonic(), error)
        return pause

    def acknowledge(self, mid: int, qos: int) -> None:
        """Acknowledge a message of the present connection."""
        if self._wire is not None:
            self._wire.acknowledge(mid, qos)

    async def publish(self, topic: str, payload: bytes, *, content_type: str = "", within: float) -> None:
        """Publish with QoS 1, return at the PUBACK; raises Refused, or Unreachable after *within* seconds."""
        await self.acknowledged(self.submit(topic, payload, content_type), within)

    def submit(
        self, topic: str, payload: bytes, content_type: str = "", *, retain: bool = False, name: str = ""
    ) -> int:
        """Put a message behind those that wait; acknowledged() of the answer must follow. *name*: see wire.NAME."""
        self._count += 1
        outgoing = self._waiting[self._count] = _Outgoing(topic, payload, content_type, retain=retain, name=name)
        self._unsent.append(outgoing)
        self._send()
        return self._count

    async def acknowledged(self, number: int, within: float) -> None:
        """Return at the PUBACK of what was submitted; raises Refused, or Unreachable after *within* seconds."""
        try:
            async with asyncio.timeout(within):
                await self._waiting[number].done
        except TimeoutError:
            why = self.trouble or f"{self.address} did not acknowledge within {within:g} s"
            raise Unreachable(str(why), hint="publish again, same id") from None
        finally:
            self._waiting.pop(number, None)

    def _send_again(self) -> None:
        self._in_flight = 0
        self._unsent = deque(self._waiting.values())
        self._send()

    def _send(self) -> None:
        """Send what waits, oldest first, as far as the broker's window goes."""
        wire = self._wire
        while wire is not None and self.connected and self._unsent and self._in_flight < wire.window:
            outgoing = self._unsent.popleft()
            if outgoing.done.done():
                continue
            try:
                answer = wire.publish(
                    outgoing.topic, outgoing.payload, outgoing.content_type, retain=outgoing.retain, name=outgoing.name
                )
            except BusError as error:
                outgoing.done.set_exception(error)
                continue
            self._in_flight += 1
            answer.add_done_callback(partial(self._acknowledged, wire, outgoing))

    def _acknowledged(self, wire: Wire, outgoing: _Outgoing, answer: asyncio.Future[None]) -> None:
        if answer.cancelled() or wire is not self._wire:
            return  # it goes out again on the next connection
        self._in_flight -= 1
        error = answer.exception()
        if not outgoing.done.done():
            if error is not None:
                outgoing.done.set_exception(error)
            else:
                outgoing.done.set_result(None)
        self._send()
