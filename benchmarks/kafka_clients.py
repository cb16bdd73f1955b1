"""Two Kafka clients in the shape in which the bus uses one; see docs/decisions/0006-kafka-client.md.

One partition, records of 300 bytes, everything from one asyncio loop: read with manual positions, commit an offset with
metadata, publish idempotently with acks=all and a hundred in flight. Both clients are needed: the one that the platform
uses, and ``pip install confluent-kafka`` beside it.

    python -m benchmarks.kafka_clients
"""

from __future__ import annotations

import asyncio
import functools
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from tests.kafka import start_kafka

RECORDS = 60_000
PUBLISHED = 20_000
IN_FLIGHT = 100
COMMITS = 200
VALUE = b'{"specversion":"1.0","id":"1","source":"/bench","type":"t","data":"' + b"x" * 231 + b'"}'
METADATA = "m" * 600


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Measured:
    """Events per second, and processor time of this process per event."""

    def __init__(self, events: int) -> None:
        self._events = events

    def __enter__(self) -> Self:
        self._began, self._cpu = time.perf_counter(), cpu()
        return self

    def __exit__(self, *_: object) -> None:
        took = time.perf_counter() - self._began
        self.text = f"{self._events / took:,.0f}/s, {1e6 * (cpu() - self._cpu) / self._events:.1f} us of processor each"


async def publish(send: Callable[[], Awaitable[object]]) -> str:
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one() -> None:
        async with gate:
            await send()

    with Measured(PUBLISHED) as measured:
        await asyncio.gather(*(one() for _ in range(PUBLISHED)))
    return measured.text


async def commits(commit: Callable[[int], Awaitable[object]]) -> str:
    times = []
    for number in range(COMMITS):
        began = time.perf_counter()
        await commit(number)
        times.append(1000 * (time.perf_counter() - began))
    return f"p50 {statistics.median(times):.1f} ms, p99 {sorted(times)[int(COMMITS * 0.99)]:.1f} ms"


async def fill(bootstrap: str) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_batch_size=1 << 18)
    await producer.start()
    for name in ("read-a", "read-c", "write-a", "write-c"):
        await producer.send_and_wait(name, VALUE)
    for name in ("read-a", "read-c"):
        for _ in range(RECORDS // 1000):
            await asyncio.gather(*[await producer.send(name, VALUE) for _ in range(1000)])
    await producer.stop()


async def with_aiokafka(bootstrap: str) -> dict[str, str]:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.structs import OffsetAndMetadata

    where = TopicPartition("read-a", 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id="a",
        enable_auto_commit=False,
        max_partition_fetch_bytes=256 << 10,
        fetch_max_bytes=4 << 20,
    )
    await consumer.start()
    consumer.assign([where])
    consumer.seek(where, 0)
    seen = 0
    with Measured(RECORDS) as reading:
        while seen < RECORDS:
            seen += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
    committing = await commits(lambda n: consumer.commit({where: OffsetAndMetadata(n, METADATA)}))
    await consumer.stop()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    publishing = await publish(functools.partial(producer.send_and_wait, "write-a", VALUE))
    await producer.stop()
    return {"read": reading.text, "commit": committing, "publish": publishing}


async def with_confluent(bootstrap: str) -> dict[str, str]:
    from confluent_kafka import Consumer, Producer, TopicPartition

    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": "c",
        "enable.auto.commit": False,
        "max.partition.fetch.bytes": 256 << 10,
        "fetch.max.bytes": 4 << 20,
    }
    consumer = Consumer(settings)
    consumer.assign([TopicPartition("read-c", 0, 0)])
    seen = 0
    with Measured(RECORDS) as reading:
        while seen < RECORDS:
            batch = await asyncio.to_thread(consumer.consume, 500, 0.5)
            seen += sum(len(message.value()) > 0 for message in batch)

    async def commit(number: int) -> None:
        at = TopicPartition("read-c", 0, number, METADATA)
        await asyncio.to_thread(lambda: consumer.commit(offsets=[at], asynchronous=False))

    committing = await commits(commit)
    threads_of_consumer = _threads()
    consumer.close()
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
    loop = asyncio.get_running_loop()
    over = threading.Event()
    polling = threading.Thread(target=lambda: [producer.poll(0.1) for _ in iter(over.is_set, True)])
    polling.start()

    async def send() -> None:
        done: asyncio.Future[None] = loop.create_future()
        producer.produce("write-c", VALUE, callback=lambda *_: loop.call_soon_threadsafe(done.set_result, None))
        await done

    publishing = await publish(send)
    over.set()
    await asyncio.to_thread(polling.join)
    return {
        "read": f"{reading.text}; {threads_of_consumer} threads with one consumer",
        "commit": committing,
        "publish": publishing,
    }


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        kafka = start_kafka(Path(directory))
        try:
            run(kafka.bootstrap)
        finally:
            kafka.stop()


def run(bootstrap: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    async def prepare() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1) for name in ("read-a", "read-c", "write-a", "write-c")])
        await admin.close()
        await fill(bootstrap)

    asyncio.run(prepare())
    import uvloop

    for name, measure in (("aiokafka", with_aiokafka), ("confluent-kafka", with_confluent)):
        for what, text in uvloop.run(measure(bootstrap)).items():
            print(f"{name:16}{what:9}{text}")


if __name__ == "__main__":
    main()
