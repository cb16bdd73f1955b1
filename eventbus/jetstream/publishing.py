"""Pipelined publishes: any number wait for their PubAck at once, in the order in which they were made.

A broken connection does not break that order: publishes made meanwhile queue up, and when it is back everything
unanswered goes out again, oldest first. That is safe only for what carries a Nats-Msg-Id; the rest is answered
Unreachable, because it may or may not be stored.

Streams whose broker syncs every message have a lane (grouping.py); their batches are atomic (ADR-50).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets

import msgspec

from eventbus.errors import BusError, BusFull, Refused, TooLarge, Unreachable
from eventbus.jetstream.api import Ack
from eventbus.jetstream.connection import Connection, Message, status
from eventbus.jetstream.grouping import Lane, Publish

MESSAGE_ID = "Nats-Msg-Id"
FULL = frozenset({10077, 10047, 10023})
"""err_codes of a full stream, account and server."""
TOO_LARGE = 10054
BATCH_ID, BATCH_SEQUENCE, BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"


class NoStream(Unreachable):
    """No stream takes the subject."""


class Publisher:
    """All event publishes of one connection."""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._waiting: dict[str, Publish] = {}
        self._batches: dict[str, list[Publish]] = {}
        self._lanes: dict[str, Lane] = {}
        self._due: dict[Lane, None] = {}
        self._sender: asyncio.Task[None] | None = None
        self._inbox = ""
        self._count = itertools.count(1)
        self._name = secrets.token_hex(4)
        self._round = 0
        self._up = False
        self._decode = msgspec.json.Decoder(Ack).decode
        connection.on_up.append(self._resume)
        connection.on_down.append(self._pause)

    async def start(self) -> None:
        """Listen for PubAcks on a connection that is new; send what waited for it."""
        self._inbox = self._connection.inbox() + "."
        await self._connection.listen(self._inbox + "*", self._answered)
        await self._resume()

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None, *, grouped: str = "") -> Ack:
        """Send and wait for the PubAck; raises Unreachable after the deadline, NoStream when nothing listens.

        *grouped*: the stream, where its publishes may go in batches.
        """
        lane = (self._lanes.get(grouped) or self._lanes.setdefault(grouped, Lane())) if grouped else None
        publish = Publish(str(next(self._count)), subject, payload, headers, lane)
        self._waiting[publish.token] = publish
        publish.timer = asyncio.get_running_loop().call_later(self._deadline, self._expired, publish)
        try:
            if lane is not None and not (self._up and lane.idle):
                lane.add(publish)
                self._stir(lane)
            elif self._up:
                if lane is not None:
                    lane.sent_alone(publish)
                await self._send(publish)
            return await publish.answer
        finally:
            publish.timer.cancel()
            self._waiting.pop(publish.token, None)
            if lane is not None:
                lane.left(publish)
                self._stir(lane)

    def _stir(self, lane: Lane) -> None:
        """Send what the lane has next, once everything that publishes in this turn of the loop has done so."""
        if self._up and lane.waits:
            self._due[lane] = None
            if self._sender is None:
                self._sender = asyncio.get_running_loop().create_task(self._send_due())

    async def _send_due(self) -> None:
        try:
            while self._due and self._up:
                lane, _ = self._due.popitem()
                while self._up and (out := lane.take()):
                    try:
                        await (self._send(out[0]) if len(out) == 1 else self._send_batch(out))
                    except BusError as error:
                        for publish in out:
                            publish.settle(error)
        finally:
            self._sender = None

    async def _send(self, publish: Publish) -> None:
        publish.round = self._round
        await self._connection.send(publish.subject, publish.payload, self._inbox + publish.token, publish.headers)

    async def _send_batch(self, batch: list[Publish]) -> None:
        number = f"b{next(self._count)}"
        self._batches[number] = batch
        for publish in batch:
            publish.round = self._round
        for place, publish in enumerate(batch, 1):
            headers = {**(publish.headers or {}), BATCH_ID: f"{self._name}{number}", BATCH_SEQUENCE: str(place)}
            last = place == len(batch)
            if last:
                headers[BATCH_COMMIT] = "1"
            reply = self._inbox + number if last else ""
            await self._connection.send(publish.subject, publish.payload, reply, headers)
            if number not in self._batches:
                return  # the connection broke: a batch without its end is never stored

    def _answered(self, message: Message) -> None:
        token = message.subject[len(self._inbox) :]
        outcome = self._outcome(message)
        if publish := self._waiting.get(token):
            publish.settle(outcome)
        elif batch := self._batches.pop(token, None):
            lane = batch[0].lane
            assert lane is not None
            if isinstance(outcome, Ack) and outcome.error is None:
                for publish in batch:
                    publish.settle(outcome)
            else:
                lane.refused()
                self._stir(lane)

    def _outcome(self, message: Message) -> Ack | Exception:
        if status(message.headers):
            return NoStream("no stream takes the event")
        try:
            return self._decode(message.data)
        except msgspec.DecodeError as error:
            return Unreachable(f"unreadable acknowledgement: {error}")

    def _expired(self, publish: Publish) -> None:
        publish.settle(
            Unreachable(f"the bus did not acknowledge within {self._deadline:g} s", hint="publish again, same id")
        )

    def stop(self, reason: str) -> None:
        """Answer everything that waits; nobody will."""
        self._pause()
        for publish in self._waiting.values():
            publish.settle(Unreachable(reason))

    def _pause(self) -> None:
        self._up = False
        self._round += 1
        self._batches.clear()
        for lane in self._lanes.values():
            lane.broken()

    async def _resume(self) -> None:
        """Send again, oldest first; what is published meanwhile joins the end of the same queue."""
        while unsent := [publish for publish in self._waiting.values() if self._unsent(publish)]:
            for publish in unsent:
                if publish.answer.done():
                    publish.round = self._round
                elif publish.round >= 0 and MESSAGE_ID not in (publish.headers or {}):
                    publish.round = self._round
                    publish.settle(Unreachable("the connection broke before the bus acknowledged"))
                else:
                    if publish.lane is not None:
                        publish.lane.sent_alone(publish)
                    await self._send(publish)
        self._up = True
        for lane in self._lanes.values():
            self._stir(lane)

    def _unsent(self, publish: Publish) -> bool:
        """Whether it is to go out on this connection, unless its lane will see to it."""
        return publish.round != self._round and (publish.lane is None or publish.round >= 0)


def refusal(ack: Ack, subject: str) -> Refused:
    """The error that a PubAck says; it has one."""
    error = ack.error
    assert error is not None
    if error.err_code == TOO_LARGE:
        return TooLarge(f"the event is too large: {error.description}")
    if error.err_code in FULL:
        return BusFull(f"topic {subject} is full: {error.description}", hint="its subscribers are behind")
    return Refused(f"the bus did not store the event: {error.description} ({error.err_code})")
