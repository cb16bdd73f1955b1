"""State in a key-value bucket of JetStream (ADR-8), over the connection of the event bus.

A revision is the sequence of the key's newest message, so no two values of a key ever share one. Writes compare it in
the server; several go in one atomic batch (ADR-50). Expiry is that of single messages (ADR-43).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from eventbus.errors import BusError, TooLarge
from eventbus.jetstream.api import EXPECT_LAST, NANOSECONDS, NO_MESSAGE, NO_STREAM, WRONG_LAST, ApiError, JetStream
from eventbus.jetstream.connection import Connection, status
from eventbus.jetstream.publishing import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE
from proxy.components.jetstream_names import token
from proxy.components.protocols import (
    Change,
    ComponentFailed,
    EtagInvalid,
    EtagMismatch,
    Item,
    Remove,
    TooMuch,
    Unsupported,
    Write,
)

OPERATION, TTL, SEQUENCE, STAMP = "KV-Operation", "Nats-TTL", "Nats-Sequence", "Nats-Time-Stamp"
MARKER_TTL = "60s"
"""How long the mark of a deleted key stays, where the bucket lets single messages expire."""
TRIES = 5
"""Of a write whose key somebody else deleted, or made and deleted, at the same moment."""
LARGEST_BATCH = 1000
"""Messages of an atomic batch, the server's limit."""
ASIDE = 1024
"""Bytes of a message that are no value: subject and headers."""


class Kept(NamedTuple):
    """The newest message of a key."""

    value: bytes
    revision: int
    deleted: bool
    expires: str


ABSENT = Kept(b"", 0, True, "")


class _Config(msgspec.Struct):
    num_replicas: int = 1
    allow_direct: bool = False
    allow_msg_ttl: bool = False
    allow_atomic: bool = False


class _Info(msgspec.Struct):
    config: _Config


class JetStreamState:
    longest = 1024

    def __init__(
        self, options: Callable[[], Mapping[str, str]], bucket: str, *, memory: bool = False, name: str = "evoke"
    ) -> None:
        self._connection = Connection(options, name=name)
        self._js = JetStream(self._connection)
        self.stream, self._subject, self._memory = f"KV_{bucket}", f"$KV.{bucket}.", memory
        self._config = _Config()

    @property
    def trouble(self) -> ComponentFailed | None:
        if self._connection.connected:
            return None
        error = self._connection.trouble
        reason = error.reason if error is not None else "Unreachable"
        return ComponentFailed(str(error or "there is no connection"), reason=reason)

    async def open(self) -> str:
        with _translated():
            version = await self._connection.connect()
            await self._ensure()
        self._connection.on_up.append(self._ensure)
        return f"nats {version}, bucket {self.stream.removeprefix('KV_')}"

    async def probe(self) -> None:
        """The connection looks by itself."""

    async def close(self) -> None:
        await self._connection.close()

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        with _translated():
            return [_item(kept) for kept in await asyncio.gather(*(self._newest(key) for key in keys))]

    async def change(self, change: Change) -> None:
        await self.transact([change])

    async def transact(self, changes: Sequence[Change]) -> None:
        with _translated():
            for _try in range(TRIES):
                try:
                    return await self._transact(changes)
                except ApiError as error:
                    if error.number != WRONG_LAST:
                        raise
        raise EtagMismatch(changes[0].key)

    async def _transact(self, changes: Sequence[Change]) -> None:
        """Raises ApiError WRONG_LAST where something changed since it was looked at."""
        messages: dict[str, tuple[Change, int | None]] = {}
        for change in changes:
            if change.key in messages:
                self._follow(messages, change)
            elif (expected := await self._expected(change)) != _NOTHING:
                messages[change.key] = (change, expected)
        made = [self._message(change, expected) for change, expected in messages.values()]
        if len(made) == 1:
            await self._js.store(*made[0])
        elif made:
            await self._batch(made)

    async def _expected(self, change: Change) -> int | None:
        """The revision that the key must have; None: any, _NOTHING: there is nothing to do. Raises EtagMismatch."""
        first = isinstance(change, Write) and change.concurrency == "first-write"
        etag = _revision(change.etag) if change.etag else 0
        if not etag and not first and isinstance(change, Write):
            return None
        kept = await self._newest(change.key)
        if etag:
            if kept.deleted or kept.revision != etag:
                raise EtagMismatch(change.key)
            return etag
        if first:
            if not kept.deleted:
                raise EtagMismatch(change.key)
            return kept.revision
        return _NOTHING if kept.deleted else None

    @staticmethod
    def _follow(messages: dict[str, tuple[Change, int | None]], change: Change) -> None:
        """A second change of one key: only the last one is written, under the condition of the first."""
        before, expected = messages[change.key]
        first = isinstance(change, Write) and change.concurrency == "first-write"
        if change.etag or (first and isinstance(before, Write)):
            raise EtagMismatch(change.key)
        messages[change.key] = (change, expected)

    def _message(self, change: Change, expected: int | None) -> tuple[str, bytes, dict[str, str]]:
        headers: dict[str, str] = {}
        if expected is not None:
            headers[EXPECT_LAST] = str(expected)
        if isinstance(change, Remove):
            headers[OPERATION] = "DEL"
            if self._config.allow_msg_ttl:
                headers[TTL] = MARKER_TTL
            return self._subject + token(change.key), b"", headers
        if change.ttl > 0:
            if not self._config.allow_msg_ttl:
                raise Unsupported(f"bucket {self.stream} lets no value expire", hint="make it with allow_msg_ttl")
            headers[TTL] = f"{change.ttl}s"
        most = self._connection.max_payload - ASIDE
        if len(change.value) > most:
            raise TooMuch(f"the value has {len(change.value)} bytes, more than the server's {most}")
        return self._subject + token(change.key), change.value, headers

    async def _batch(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> None:
        if not self._config.allow_atomic:
            raise Unsupported(f"bucket {self.stream} takes no transactions", hint="make it with allow_atomic")
        if len(messages) > LARGEST_BATCH:
            raise TooMuch(f"a transaction has {LARGEST_BATCH} keys at most, not {len(messages)}")
        name = secrets.token_hex(8)
        for place, (subject, payload, headers) in enumerate(messages[:-1], 1):
            await self._connection.send(
                subject, payload, headers={**headers, BATCH_ID: name, BATCH_SEQUENCE: str(place)}
            )
        subject, payload, headers = messages[-1]
        last = {**headers, BATCH_ID: name, BATCH_SEQUENCE: str(len(messages)), BATCH_COMMIT: "1"}
        await self._js.store(subject, payload, last)

    async def _newest(self, key: str) -> Kept:
        """From the leader: directly where there is no other server, else by way of the API, which asks it."""
        subject = self._subject + token(key)
        if not self._config.allow_direct or self._config.num_replicas > 1:
            return await self._asked(subject)
        reply = await self._connection.request(f"$JS.API.DIRECT.GET.{self.stream}.{subject}")
        if status(reply.headers) == "404":
            return ABSENT
        if status(reply.headers):
            raise ApiError(NO_MESSAGE, f"a read was refused: {status(reply.headers)}", self.stream)
        return _kept(reply.data, reply.headers or {})

    async def _asked(self, subject: str) -> Kept:
        try:
            reply = await self._js.call(f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return ABSENT
            raise
        message = msgspec.json.decode(reply, type=_Got).message
        lines = message.hdrs.decode().split("\r\n")[1:]
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        return _kept(message.data, {**headers, SEQUENCE: str(message.seq), STAMP: message.time})

    async def _ensure(self) -> None:
        """The bucket as it is, or a new one; a broker that was started anew has lost one in memory."""
        try:
            found = await self._js.call(f"STREAM.INFO.{self.stream}")
        except ApiError as error:
            if error.number != NO_STREAM:
                raise
            found = await self._js.call(f"STREAM.CREATE.{self.stream}", self._wanted())
        self._config = msgspec.json.decode(found, type=_Info).config

    def _wanted(self) -> dict[str, Any]:
        return {
            "name": self.stream,
            "subjects": [f"{self._subject}>"],
            "storage": "memory" if self._memory else "file",
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "duplicate_window": 120 * NANOSECONDS,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_atomic": True,
        }


_NOTHING = -1


class _Stored(msgspec.Struct):
    seq: int
    time: str
    data: bytes = b""
    hdrs: bytes = b""


class _Got(msgspec.Struct):
    message: _Stored


def _revision(etag: str) -> int:
    """Raises EtagInvalid; 0 is the revision of no value."""
    if not (etag.isascii() and etag.isdigit() and len(etag) < 20):
        raise EtagInvalid(f"etag `{etag[:40]}` is none of this store: they are numbers")
    return int(etag) or 1 << 62


def _kept(value: bytes, headers: Mapping[str, str]) -> Kept:
    deleted = headers.get(OPERATION, "") in {"DEL", "PURGE"} or "Nats-Marker-Reason" in headers
    return Kept(value, int(headers[SEQUENCE]), deleted, _expires(headers))


def _expires(headers: Mapping[str, str]) -> str:
    """When a message goes, as ttlExpireTime says it; its Nats-TTL is a Go duration as we write it, or seconds."""
    seconds = headers.get(TTL, "").removesuffix("s")
    if not seconds.isdigit() or not seconds.isascii():
        return ""
    stored = datetime.fromisoformat(headers[STAMP][:19]).replace(tzinfo=UTC)
    return (stored + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _item(kept: Kept) -> Item | None:
    if kept.deleted:
        return None
    metadata = {"ttlExpireTime": kept.expires} if kept.expires else {}
    return Item(value=kept.value, etag=str(kept.revision), metadata=metadata)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TooLarge as error:
        raise TooMuch(str(error)) from error
    except ApiError as error:
        if error.number == WRONG_LAST:
            raise
        raise ComponentFailed(str(error), reason="Missing" if error.number == NO_STREAM else "StorageFailed") from error
    except BusError as error:
        raise ComponentFailed(str(error), reason=error.reason) from error
