"""NATS in: a subject of a JetStream stream, or a plain one.

From a stream: a durable consumer of ours keeps the progress, a message is acknowledged after the bus has it, those of
one subject in order. An event's id is the message's place in the stream, so what comes again is absorbed by the bus.
From a plain subject, which nobody stores: what is published while there is no connection is gone, and what waits for
the bus is bounded.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from api import topics
from api.frames import SourceReading
from api.model import Source
from eventbus.errors import BusError
from eventbus.jetstream.connection import Message
from eventbus.subjects import token
from triggers.sources.lanes import Done, Lanes
from triggers.sources.manners import manner
from triggers.sources.nats_events import EVENT_TYPE, convert, unfit
from triggers.sources.nats_feed import Feed
from triggers.sources.nats_stream import Place, Stored
from triggers.sources.source import BadSource, Publish, SourceError
from triggers.sources.standing import tell

FORGOTTEN_AFTER = 86_400.0
"""Seconds without a reader after which the server drops the consumer of a bridge: as long as its mark is good."""


class NatsSource:
    """Options: subject, stream, start, url, user, password, token, tls, caCert, clientCert, clientKey."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        subject, stream = options.get("subject", ""), options.get("stream", "")
        self._manner = manner(source, "nats", subject)
        if wrong := topics.nats(subject):
            raise BadSource(f"event source {source.key}: {wrong}")
        self._stored = bool(stream) or self._manner.trusted
        self._feed = Feed(
            lambda: options,
            f"evoke {source.key}",
            place=_place(source, options) if self._stored else None,
            arrived=self._arrived,
            subjects=() if self._stored else (subject,),
            passed=self._passed,
        )
        self.subscribed: Callable[[], Awaitable[None]] | None = None
        """Called while a consumer of ours keeps what the stream gets."""
        self._lanes: Lanes | None = None
        self._boot, self._received, self._dropped = uuid.uuid4().hex[:12], 0, 0

    async def run(self, publish: Publish) -> None:
        self._lanes = Lanes(self._key, self._manner.uri, publish)
        telling = asyncio.get_running_loop().create_task(tell(lambda: self._feed.connected, lambda: self.subscribed))
        try:
            await self._feed.run()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._lanes.stop()

    def _arrived(self, stored: Stored) -> None:
        """Of the stream."""
        at = datetime.fromtimestamp(stored.nanoseconds / 1e9, UTC)
        done = partial(self._feed.acknowledge, stored)
        self._put(stored.subject, stored.data, stored.headers, stored.id, at, done)

    def _passed(self, message: Message) -> None:
        """On a plain subject."""
        if self._lanes is not None and self._lanes.full:
            self._dropped += 1
            return
        id_ = f"{self._boot}-{self._received}"
        self._put(message.subject, message.data, message.headers or {}, id_, datetime.now(UTC), _nobody_waits)

    def _put(self, subject: str, data: bytes, headers: Mapping[str, str], id_: str, at: datetime, done: Done) -> None:
        lanes = self._lanes
        assert lanes is not None
        self._received += 1
        if why := unfit(subject):
            lanes.reject(id_, why, done)
            return
        plain = self._manner.plain(data, id=id_, type=EVENT_TYPE, time=at)
        trusted = self._manner.trusted
        event = plain or convert(subject, data, headers, source=self._manner.uri, id=id_, time=at, outsider=not trusted)
        lanes.put(subject, event, done)

    def state(self) -> SourceReading:
        lanes, trouble = self._lanes, self._feed.trouble
        reason, message = (trouble.reason, str(trouble)) if trouble else lanes.reading() if lanes else ("", "")
        return SourceReading(
            source=self._key,
            connected=self._feed.connected,
            received=self._received,
            published=lanes.published if lanes else 0,
            reason=reason,
            message="; ".join(filter(None, (message, self._remark()))) if not reason else message,
        )

    def _remark(self) -> str:
        lost = f"; {self._dropped} were dropped because the bus was slower" if self._dropped else ""
        return "" if self._stored else f"nobody stores this subject: what is sent while disconnected is lost{lost}"

    async def publish(self, topic: str, payload: bytes) -> None:
        """Put a message on a subject of the server; a stream has acknowledged it when this returns."""
        if wrong := topics.subject(topic):
            raise SourceError(wrong)
        try:
            await self._feed.publish(topic, payload, stored=self._stored)
        except BusError as error:
            raise SourceError(str(error), hint=error.hint) from error


def _nobody_waits() -> None:
    return


def _place(source: Source, options: Mapping[str, str]) -> Place:
    return Place(
        stream=options.get("stream", ""),
        filters=(options["subject"],),
        name=token((options.get("consumerID") or f"evoke-{source.key.namespace}-{source.key.name}").replace(".", "-")),
        start=options.get("start") or "new",
        forget_after=FORGOTTEN_AFTER if options.get("bridge") == "true" else 0.0,
    )
