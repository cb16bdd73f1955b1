"""Producers: each publishes numbered events over one protocol and writes into the journal what was acknowledged.

``publish`` returns when every event has its fate. What had no answer is sent again with the same identity, and before
anything later of its key: so the order in which the broker first has the events of a key is the order of their numbers.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
import nats
import nats.errors
import paho.mqtt.client as mqtt
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.faults.journal import Ledger
from tests.faults.ledger import Receipt, digest

PATIENCE = 150.0
"""Seconds for which an event without an answer is sent again; a broker is never away for that long."""
PAUSE = 0.1
T = TypeVar("T")


class Message(msgspec.Struct, frozen=True):
    receipt: Receipt
    body: str = ""
    work: float = 0.0
    """Seconds that the handler takes."""
    fails: int = 0
    """Attempts that end badly."""
    how: str = "exception"
    """``exception``, ``exit``, ``killed``, ``segfault``, ``memory`` or ``hang``."""

    @property
    def id(self) -> str:
        return self.receipt.id

    @property
    def payload(self) -> bytes:
        one = self.receipt
        data = {"id": one.id, "key": one.key, "n": one.number, "body": self.body, "work": self.work}
        return json.dumps(data | ({"fails": self.fails, "how": self.how} if self.fails else {})).encode()


def message(number: int, key: str, *, name: str = "p", body: str = "", **rest: Any) -> Message:
    id_ = f"{name}-{number}"
    return Message(Receipt(id_, key, number, digest(id_, key, number, body)), body, **rest)


def messages(numbers: Iterable[int], *, keys: int = 16, work: float = 0.0, body: str = "") -> list[Message]:
    """Events with these numbers over *keys* keys."""
    return [message(number, f"k{number % keys}", work=work, body=body) for number in numbers]


class Producer(Protocol):
    def publish(self, messages: Sequence[Message]) -> None: ...

    def close(self) -> None: ...


Fate: TypeAlias = bool | None
"""Acknowledged, refused for certain, or unknown."""


def rounds(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Parts that hold one event of a key at most, each key's in order."""
    left = list(messages)
    while left:
        taken: dict[str, Message] = {}
        rest = []
        for one in left:
            if one.receipt.key in taken:
                rest.append(one)
            else:
                taken[one.receipt.key] = one
        yield list(taken.values())
        left = rest


class Retrying:
    """What every protocol without a queue of its own needs: the journal, rounds, and one more try."""

    def __init__(self, ledger: Ledger, attempt: Callable[[Sequence[Message]], Mapping[str, Fate]]) -> None:
        self._ledger, self._attempt = ledger, attempt

    def publish(self, messages: Sequence[Message]) -> None:
        self._ledger.intend(*(one.receipt for one in messages))
        for part in rounds(messages):
            self._send(part)

    def _send(self, waiting: list[Message]) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            fates = self._attempt(waiting)
            self._ledger.ack(*(id_ for id_, fate in fates.items() if fate is True))
            self._ledger.fail(*(id_ for id_, fate in fates.items() if fate is False))
            waiting = [one for one in waiting if fates[one.id] is None]
            if not waiting:
                return
            self._ledger.doubt(*(one.id for one in waiting))
            assert time.monotonic() < end, f"{len(waiting)} events without an answer, the first is {waiting[0].id}"
            time.sleep(PAUSE)


class MqttProducer:
    """paho at QoS 1: the library itself sends again, in order, what was not acknowledged."""

    def __init__(self, address: str, ledger: Ledger, name: str = "p") -> None:
        self._ledger = ledger
        self._open: set[int] = set()
        self._early: set[int] = set()
        self._changed = threading.Condition()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"ledger-{name}", clean_session=False)
        self._client.on_publish = self._on_publish
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(200)
        self._client.reconnect_delay_set(0.05, 0.5)
        host, _, port = address.rpartition(":")
        self._client.connect(host, int(port), keepalive=5)
        self._client.loop_start()

    def _on_publish(self, _client: Any, _data: Any, mid: int, *_: Any) -> None:
        with self._changed:
            if mid in self._open:
                self._open.discard(mid)
            else:
                self._early.add(mid)  # the answer was faster than the return of publish()
            self._changed.notify_all()

    def publish(self, messages: Sequence[Message]) -> None:
        self._ledger.intend(*(one.receipt for one in messages))
        for one in messages:
            info = self._client.publish(f"ledger/{one.receipt.key}", one.payload, qos=1)
            with self._changed:
                if info.mid in self._early:
                    self._early.discard(info.mid)
                else:
                    self._open.add(info.mid)
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, PATIENCE), f"{len(self._open)} without a PUBACK"
        self._ledger.ack(*(one.id for one in messages))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Loop:
    """An asyncio loop in a thread of its own, for clients that need one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class NatsProducer(Retrying):
    """JetStream, as somebody else's program would publish: with Nats-Msg-Id."""

    def __init__(self, options: Mapping[str, str], subject: str, ledger: Ledger) -> None:
        super().__init__(ledger, self._try)
        self._subject = subject
        self._loop = Loop()
        self._loop.run(self._connect(options))

    async def _connect(self, options: Mapping[str, str]) -> None:
        async def quiet(_error: Exception) -> None:
            """The fates say it."""

        self._client = await nats.connect(
            options["url"],
            user=options.get("user"),
            password=options.get("password"),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            ping_interval=2,
            error_cb=quiet,
        )
        self._js = self._client.jetstream(timeout=5)

    def _try(self, messages: Sequence[Message]) -> dict[str, Fate]:
        return self._loop.run(self._all(messages))

    async def _all(self, messages: Sequence[Message]) -> dict[str, Fate]:
        return dict(await asyncio.gather(*map(self._one, messages)))

    async def _one(self, one: Message) -> tuple[str, Fate]:
        headers = {"Nats-Msg-Id": one.id}
        try:
            await self._js.publish(f"{self._subject}.{one.receipt.key}", one.payload, headers=headers)
        except (nats.errors.Error, OSError, TimeoutError):
            return one.id, None
        return one.id, True

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()


def make_stream(options: Mapping[str, str], name: str, subjects: str) -> None:
    async def make() -> None:
        client = await nats.connect(options["url"], user=options.get("user"), password=options.get("password"))
        await client.jetstream().add_stream(name=name, subjects=[subjects])
        await client.close()

    asyncio.run(make())


class KafkaProducer(Retrying):
    """Acknowledged by all, the record key being the event's.

    Not idempotent: aiokafka counts the records of a batch that it gave up, and the broker takes nothing of it after.
    It has one batch of a partition under way, so the order holds without.
    """

    def __init__(self, bootstrap: str, topic: str, ledger: Ledger) -> None:
        super().__init__(ledger, self._try)
        self._topic = topic
        self._loop = Loop()
        self._loop.run(self._start(bootstrap))

    async def _start(self, bootstrap: str) -> None:
        self._client = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=2, request_timeout_ms=10_000)
        await self._client.start()

    def _try(self, messages: Sequence[Message]) -> dict[str, Fate]:
        return self._loop.run(self._all(messages))

    async def _all(self, messages: Sequence[Message]) -> dict[str, Fate]:
        return dict(await asyncio.gather(*map(self._one, messages)))

    async def _one(self, one: Message) -> tuple[str, Fate]:
        try:
            await self._client.send_and_wait(self._topic, one.payload, key=one.receipt.key.encode())
        except (KafkaError, OSError):
            return one.id, None
        return one.id, True

    def close(self) -> None:
        self._loop.run(self._client.stop())
        self._loop.close()


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            await admin.close()

    asyncio.run(make())


class HttpProducer(Retrying):
    """A webhook: binary-mode CloudEvents, each in a POST of its own, *parallel* at a time."""

    def __init__(self, address: str, path: str, ledger: Ledger, parallel: int = 8) -> None:
        super().__init__(ledger, self._try)
        self._address, self._path = address, path
        self._pool = ThreadPoolExecutor(parallel)

    def _try(self, messages: Sequence[Message]) -> dict[str, Fate]:
        return dict(self._pool.map(self._one, messages))

    def _one(self, one: Message) -> tuple[str, Fate]:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": one.id,
            "ce-source": "/ledger",
            "ce-type": "ledger",
            "ce-partitionkey": one.receipt.key,
            "content-type": "application/json",
        }
        connection = http.client.HTTPConnection(self._address, timeout=15)
        try:
            connection.request("POST", self._path, one.payload, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return one.id, None
        finally:
            connection.close()
        return one.id, True if status < 300 else False if status in {400, 413, 507} else None

    def close(self) -> None:
        self._pool.shutdown()
