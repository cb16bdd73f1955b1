"""State in a key-value bucket of JetStream (ADR-8), over the connection of the event bus.

A revision is the sequence of the key's newest message, so no two values of a key ever share one. Writes compare it in
the server; several go in one atomic batch (ADR-50). Expiry is that of single messages (ADR-43).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from eventbus.errors import BusError, TooLarge, Unreachable
from eventbus.jetstream.api import EXPECT_LAST, NANOSECONDS, NO_MESSAGE, NO_STREAM, WRONG_LAST, ApiError, JetStream
from eventbus.jetstream.connection import Connection, status
from eventbus.jetstream.publishing import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE
from proxy.components.jetstream_messages import ABSENT, OPERATION, SEQUENCE, STAMP, TTL, Got, Kept, item, kept, revision
from proxy.components.jetstream_names import token
from proxy.components.protocols import (
    Change,
    ComponentFailed,
    EtagMismatch,
    Item,
    Remove,
    TooMuch,
    Unsupported,
    Write,
)

MARKER_TTL = "60s"
"""How long the mark of a deleted key stays, where the bucket lets single messages expire."""
TRIES = 5
"""Of a write whose key somebody else deleted, or made and deleted, at the same moment."""
READY_WITHIN = 2.0
"""Seconds that a call waits for a server that is away."""
LOOK_WITHIN = 1.0
"""Seconds for one look at the bucket."""
AGAIN = 0.1
"""Seconds between two looks for the bucket."""
LARGEST_BATCH = 1000
"""Messages of an atomic batch, the server's limit."""
ASIDE = 1024
"""Bytes of a message that are no value: subject and headers."""


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
        self._there = asyncio.Event()
        """Connected, and the bucket was seen since."""
        self._looking: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> ComponentFailed | None:
        if self._there.is_set():
            return None
        error = self._connection.trouble
        reason = error.reason if error is not None else "Unreachable"
        return ComponentFailed(str(error or "there is no connection"), reason=reason)

    async def open(self) -> str:
        with _translated():
            version = await self._connection.connect()
            await self._ensure()
        self._connection.on_up.append(self._up)
        self._connection.on_down.append(self._there.clear)
        self._there.set()
        return f"nats {version}, bucket {self.stream.removeprefix('KV_')}"

    async def probe(self) -> None:
        """The connection looks by itself."""

    async def close(self) -> None:
        self._there.clear()
        if self._looking is not None:
            self._looking.cancel()
        await self._connection.close()

    async def _up(self) -> None:
        """Connected again: see to the bucket, for a broker that was started anew may not be ready, or have lost it."""
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().create_task(self._look(), name=f"look for {self.stream}")

    async def _look(self) -> None:
        while self._connection.connected:
            with suppress(BusError):
                await self._ensure()
                self._there.set()
                return
            await asyncio.sleep(AGAIN)

    async def _ready(self) -> None:
        """Wait a little for a server that is on its way back; raises ComponentFailed."""
        if not self._there.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_WITHIN):
                    await self._there.wait()
        if trouble := self.trouble:
            raise trouble

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        await self._ready()
        with _translated():
            return [item(found) for found in await asyncio.gather(*(self._newest(key) for key in keys))]

    async def change(self, change: Change) -> None:
        await self.transact([change])

    async def transact(self, changes: Sequence[Change]) -> None:
        await self._ready()
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
        etag = revision(change.etag) if change.etag else 0
        if not etag and not first and isinstance(change, Write):
            return None
        found = await self._newest(change.key)
        if etag:
            if found.deleted or found.revision != etag:
                raise EtagMismatch(change.key)
            return etag
        if first:
            if not found.deleted:
                raise EtagMismatch(change.key)
            return found.revision
        return _NOTHING if found.deleted else None

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
        return kept(reply.data, reply.headers or {})

    async def _asked(self, subject: str) -> Kept:
        try:
            reply = await self._js.call(f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return ABSENT
            raise
        message = msgspec.json.decode(reply, type=Got).message
        lines = message.hdrs.decode().split("\r\n")[1:]
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        return kept(message.data, {**headers, SEQUENCE: str(message.seq), STAMP: message.time})

    async def _ensure(self) -> None:
        """The bucket as it is, or a new one; a broker that was started anew has lost one in memory."""
        try:
            # a server that has just started loses requests, and answers them when it is asked again
            async with asyncio.timeout(LOOK_WITHIN):
                found = await self._js.call(f"STREAM.INFO.{self.stream}")
        except TimeoutError:
            raise Unreachable(f"JetStream did not say whether there is {self.stream}") from None
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
