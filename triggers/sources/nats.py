"""NATS in: a subject of a JetStream stream, or a plain one.

From a stream: a durable consumer of ours keeps the progress, a message is acknowledged after the bus has it, those of
one subject in order. An event's id is the message's place in the stream, so what comes again is absorbed by the bus.
From a plain subject, which nobody stores: what is published while there is no connection is gone, and what waits for
the bus is bounded.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from api import topics
from api.frames import SourceReading
from api.model import Source
from eventbus.errors import BusError
from eventbus.jetstream.connection import Message
from eventbus.subjects import token
from triggers.sources.lanes import Done, Lanes
from triggers.sources.nats_events import convert, unfit
from triggers.sources.nats_feed import Feed
from triggers.sources.nats_stream import Place, Stored
from triggers.sources.source import BadSource, Publish, SourceError, uri


class NatsSource:
    """Options: subject, stream, start, url, user, password, token, tls, caCert, clientCert, clientKey."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        self._uri = uri(source, "nats")
        subject, stream = options.get("subject", ""), options.get("stream", "")
        if wrong := topics.nats(subject):
            raise BadSource(f"event source {source.key}: {wrong}")
        self._stored = bool(stream)
        self._feed = Feed(
            lambda: options,
            f"evoke {source.key}",
            place=_place(source, options) if stream else None,
            arrived=self._arrived,
            subjects=() if stream else (subject,),
            passed=self._passed,
        )
        self._lanes: Lanes | None = None
        self._boot, self._received, self._dropped = uuid.uuid4().hex[:12], 0, 0

    async def run(self, publish: Publish) -> None:
        self._lanes = Lanes(self._key, self._uri, publish)
        try:
            await self._feed.run()
        finally:
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
        lanes.put(subject, convert(subject, data, headers, source=self._uri, id=id_, time=at), done)

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
        stream=options["stream"],
        filters=(options["subject"],),
        name=token(f"evoke-{source.key.namespace}-{source.key.name}".replace(".", "-")),
        start="all" if options.get("start") == "all" else "new",
    )
