"""Pipelined publishes: any number wait for their PubAck at once, in the order in which they were made.

A broken connection does not break that order: publishes made meanwhile queue up, and when it is back everything
unanswered goes out again, oldest first. That is safe only for what carries a Nats-Msg-Id; the rest is answered
Unreachable, because it may or may not be stored.
"""

from __future__ import annotations

import asyncio

import msgspec

from eventbus.errors import Unreachable
from eventbus.jetstream import Ack
from eventbus.nats import Connection, Message, status

MESSAGE_ID = "Nats-Msg-Id"


class NoStream(Unreachable):
    """No stream takes the subject."""


class _Publish:
    __slots__ = ("answer", "headers", "payload", "round", "subject", "timer")

    def __init__(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> None:
        self.subject, self.payload, self.headers = subject, payload, headers
        self.answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self.round = -1
        """Connection on which it was sent last; -1: on none."""
        self.timer: asyncio.TimerHandle | None = None


class Publisher:
    """All event publishes of one connection."""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._waiting: dict[str, _Publish] = {}
        self._inbox = ""
        self._count = 0
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

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> Ack:
        """Send and wait for the PubAck; raises Unreachable after the deadline, NoStream when nothing listens."""
        publish = _Publish(subject, payload, headers)
        self._count += 1
        token = str(self._count)
        self._waiting[token] = publish
        publish.timer = asyncio.get_running_loop().call_later(self._deadline, self._expired, token)
        try:
            if self._up:
                await self._send(token, publish)
            return await publish.answer
        finally:
            publish.timer.cancel()
            self._waiting.pop(token, None)

    async def _send(self, token: str, publish: _Publish) -> None:
        publish.round = self._round
        await self._connection.send(publish.subject, publish.payload, self._inbox + token, publish.headers)

    def _answered(self, message: Message) -> None:
        publish = self._waiting.get(message.subject[len(self._inbox) :])
        if publish is None or publish.answer.done():
            return
        if status(message.headers):
            publish.answer.set_exception(NoStream(f"no stream takes {publish.subject}"))
            return
        try:
            publish.answer.set_result(self._decode(message.data))
        except msgspec.DecodeError as error:
            publish.answer.set_exception(Unreachable(f"unreadable acknowledgement: {error}"))

    def _expired(self, token: str) -> None:
        publish = self._waiting.get(token)
        if publish is not None and not publish.answer.done():
            publish.answer.set_exception(
                Unreachable(f"the bus did not acknowledge within {self._deadline:g} s", hint="publish again, same id")
            )

    def stop(self, reason: str) -> None:
        """Answer everything that waits; nobody will."""
        self._pause()
        for publish in self._waiting.values():
            if not publish.answer.done():
                publish.answer.set_exception(Unreachable(reason))

    def _pause(self) -> None:
        self._up = False
        self._round += 1

    async def _resume(self) -> None:
        """Send again, oldest first; what is published meanwhile joins the end of the same queue."""
        while unsent := [(token, p) for token, p in self._waiting.items() if p.round != self._round]:
            for token, publish in unsent:
                if publish.answer.done():
                    publish.round = self._round
                elif publish.round >= 0 and MESSAGE_ID not in (publish.headers or {}):
                    publish.round = self._round
                    publish.answer.set_exception(Unreachable("the connection broke before the bus acknowledged"))
                else:
                    await self._send(token, publish)
        self._up = True
