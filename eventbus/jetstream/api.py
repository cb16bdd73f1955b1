"""JetStream's JSON API over one connection: streams, consumers, stored messages, key-value buckets.

Subjects and shapes: https://docs.nats.io/reference/reference-protocols/nats_api_reference. No decision is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from eventbus.errors import BusError, Missing
from eventbus.jetstream.connection import Connection, status

NO_STREAM: Final = 10059
NO_CONSUMER: Final = 10014
NO_MESSAGE: Final = 10037
NAME_IN_USE: Final = 10058
PURGE_FAILED: Final = 10051
OTHER_STREAM: Final = 10060
"""Nats-Expected-Stream did not hold."""
WRONG_LAST: Final = 10071
"""Nats-Expected-Last-Subject-Sequence did not hold."""
EXPECT_LAST = "Nats-Expected-Last-Subject-Sequence"

NANOSECONDS = 1_000_000_000
API: Final = "$JS.API"
"""Where the API of the account itself is."""


def api_of(options: Mapping[str, str]) -> str:
    """Where the API is, by options ``domain`` and ``apiPrefix``."""
    domain = options.get("domain", "")
    return options.get("apiPrefix", "").rstrip(".") or (f"$JS.{domain}.API" if domain else API)


class ApiError(BusError):
    """JetStream answered with an error; *number* is its err_code."""

    def __init__(self, number: int, description: str, subject: str = "") -> None:
        super().__init__(f"JetStream: {description} ({number}{', ' + subject if subject else ''})")
        self.number, self.description = number, description


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Reply(msgspec.Struct):
    error: _Error | None = None


class Ack(msgspec.Struct):
    """PubAck of one stored message."""

    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


class Position(msgspec.Struct):
    stream_seq: int = 0


class ConsumerInfo(msgspec.Struct):
    name: str
    delivered: Position
    ack_floor: Position
    num_ack_pending: int = 0
    num_pending: int = 0


class StreamState(msgspec.Struct):
    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    consumer_count: int = 0
    subjects: dict[str, int] = {}


class StreamConfig(msgspec.Struct):
    name: str
    max_bytes: int = -1
    allow_atomic: bool = False
    """Whether it takes atomic batches; no server before 2.12 answers it."""


class StreamInfo(msgspec.Struct):
    config: StreamConfig
    state: StreamState


class Stored(msgspec.Struct):
    """A message as STREAM.MSG.GET answers it."""

    subject: str
    seq: int
    data: bytes = b""


class _Got(msgspec.Struct):
    message: Stored


class _Raw(msgspec.Struct):
    config: dict[str, Any]


class _Names(msgspec.Struct):
    streams: list[str] | None = None


class JetStream:
    """Typed calls; every one raises ApiError or Unreachable."""

    def __init__(self, connection: Connection, replicas: int = 1, *, api: str = API) -> None:
        """*api*: where JetStream's API is, of another domain or another account's."""
        self.connection, self._replicas, self.api = connection, replicas, api

    async def call(self, verb: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Request a verb of the API, answer the reply's JSON."""
        reply = await self.connection.request(f"{self.api}.{verb}", msgspec.json.encode(body) if body else b"")
        error = msgspec.json.decode(reply.data, type=_Reply).error
        if error is not None:
            raise ApiError(error.err_code, error.description, verb)
        return reply.data

    async def ensure_stream(self, config: Mapping[str, Any]) -> StreamInfo:
        """Create the stream, or take it as it is when it exists with other settings."""
        wanted = {**config, "num_replicas": self._replicas}
        try:
            return msgspec.json.decode(await self.call(f"STREAM.CREATE.{config['name']}", wanted), type=StreamInfo)
        except ApiError as error:
            if error.number != NAME_IN_USE:
                raise
            return await self.stream_info(config["name"])

    async def allow_batches(self, stream: str) -> StreamInfo:
        """Let a stream of an older release take atomic batches; the answer tells whether it does."""
        found = msgspec.json.decode(await self.call(f"STREAM.INFO.{stream}"), type=_Raw)
        changed = {**found.config, "allow_atomic": True}
        return msgspec.json.decode(await self.call(f"STREAM.UPDATE.{stream}", changed), type=StreamInfo)

    async def stream_info(self, stream: str, subjects: str = "") -> StreamInfo:
        """State of a stream; with *subjects* also the matching ones with their message counts."""
        body = {"subjects_filter": subjects} if subjects else None
        return msgspec.json.decode(await self.call(f"STREAM.INFO.{stream}", body), type=StreamInfo)

    async def stream_names(self, subject: str) -> list[str]:
        reply = await self.call("STREAM.NAMES", {"subject": subject})
        return msgspec.json.decode(reply, type=_Names).streams or []

    async def stream_of(self, subject: str) -> str:
        """The stream that has *subject*; raises Missing."""
        found = await self.stream_names(subject)
        if not found:
            raise Missing(f"no stream has subject {subject}", hint="make one: `nats stream add`")
        return found[0]

    async def purge(self, stream: str, *, below: int | None = None, subject: str = "") -> None:
        """Delete messages: those under sequence *below*, or of one subject."""
        body: dict[str, Any] = {"seq": below} if below is not None else {}
        await self.call(f"STREAM.PURGE.{stream}", body | ({"filter": subject} if subject else {}))

    async def create_consumer(self, stream: str, config: Mapping[str, Any]) -> ConsumerInfo:
        body = {"stream_name": stream, "config": config, "action": "create"}
        reply = await self.call(f"CONSUMER.CREATE.{stream}.{config['name']}", body)
        return msgspec.json.decode(reply, type=ConsumerInfo)

    async def consumer_info(self, stream: str, name: str) -> ConsumerInfo | None:
        """None when there is no such consumer or stream."""
        try:
            return msgspec.json.decode(await self.call(f"CONSUMER.INFO.{stream}.{name}"), type=ConsumerInfo)
        except ApiError as error:
            if error.number in {NO_CONSUMER, NO_STREAM}:
                return None
            raise

    async def delete_consumer(self, stream: str, name: str) -> None:
        try:
            await self.call(f"CONSUMER.DELETE.{stream}.{name}")
        except ApiError as error:
            if error.number not in {NO_CONSUMER, NO_STREAM}:
                raise

    async def last(self, stream: str, subject: str) -> Stored | None:
        """Newest message of one subject, read from the stream's leader; None when there is none."""
        try:
            reply = await self.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.number in {NO_MESSAGE, NO_STREAM}:
                return None
            raise
        return msgspec.json.decode(reply, type=_Got).message

    async def any_from(self, stream: str, seq: int, subject: str) -> bool:
        """Whether a message of *subject* stands at *seq* or behind it."""
        try:
            await self.call(f"STREAM.MSG.GET.{stream}", {"seq": seq, "next_by_subj": subject})
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return False
            raise
        return True

    async def barrier(self, subject: str) -> None:
        """Return when everything published to the subject's stream before this call is stored.

        A publish that names another stream is refused in its turn; an info request may overtake those in the queue.
        """
        try:
            await self.store(subject, b"", {"Nats-Expected-Stream": "-"})
        except ApiError as error:
            if error.number != OTHER_STREAM:
                raise

    async def payload(self, stream: str, seq: int) -> bytes:
        """Bytes of one stored message; a direct get, because base64 of the largest event would exceed a reply."""
        reply = await self.connection.request(
            f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode({"seq": seq}), within=5.0
        )
        if status(reply.headers):
            raise ApiError(NO_MESSAGE, f"event {seq} is no longer stored", stream)
        return reply.data

    async def store(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Ack:
        """Store one message and wait for its PubAck; for the rare writes, not for events."""
        reply = await self.connection.request(subject, payload, headers)
        ack = msgspec.json.decode(reply.data, type=Ack)
        if ack.error is not None:
            raise ApiError(ack.error.err_code, ack.error.description, subject)
        return ack


class Bucket:
    """A key-value bucket in NATS's own layout (ADR-8), newest value only."""

    def __init__(self, js: JetStream, name: str) -> None:
        self._js, self.name = js, name
        self.stream = f"KV_{name}"

    async def ensure(self, *, ttl: float = 0, memory: bool = False) -> None:
        """Create it; *ttl* in seconds, 0: values stay."""
        await self._js.ensure_stream({
            "name": self.stream,
            "subjects": [f"$KV.{self.name}.>"],
            "storage": "memory" if memory else "file",
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_age": int(ttl * NANOSECONDS),
            "duplicate_window": int(min(ttl or 120, 120) * NANOSECONDS),
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "deny_delete": False,
        })  # fmt: skip

    def subject(self, key: str) -> str:
        return f"$KV.{self.name}.{key}"

    async def get(self, key: str) -> Stored | None:
        found = await self.read(key)
        return found if found is not None and found.data else None

    async def read(self, key: str) -> Stored | None:
        """As get(), but a value that was emptied is there, with its revision."""
        return await self._js.last(self.stream, self.subject(key))

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        """Write, answer the revision; with *expected* only over that revision (0: only if new), else ApiError."""
        headers = {EXPECT_LAST: str(expected)} if expected is not None else None
        return (await self._js.store(self.subject(key), value, headers)).seq

    async def delete(self, key: str) -> None:
        try:
            await self._js.purge(self.stream, subject=self.subject(key))
        except ApiError as error:
            if error.number != NO_STREAM:
                raise

    async def keys(self, under: str) -> list[str]:
        """Keys that match *under* (``prefix.*``)."""
        info = await self._js.stream_info(self.stream, self.subject(under))
        return [subject.removeprefix(f"$KV.{self.name}.") for subject in info.state.subjects]
