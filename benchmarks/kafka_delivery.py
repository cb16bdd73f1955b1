"""Delivery from Kafka: a stored backlog of one partition through the proxy into one replica, beside a plain consumer.

    python -m benchmarks.kafka_delivery [-n 40000] [--keys 64] [--rounds 2]

As benchmarks/delivery.py, whose replica and proxy these are, over a bus on a real Kafka broker. The plain aiokafka
consumer reads the same topic, commits every thousand records and does nothing with them: the ceiling of that library.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from api.model import Bus
from benchmarks import delivery
from eventbus.bus import EventBus
from eventbus.cloudevents import dedupe_id
from eventbus.connect import connect
from tests.kafka import start_kafka


def bus_of(brokers: str) -> EventBus:
    return connect(Bus(key=delivery.BUS, kind="kafka", options={"brokers": brokers}), str)


async def fill(brokers: str, subject: str, args: argparse.Namespace) -> None:
    """Store the backlog as publishers of the platform do, with a dedupe id each."""
    bus, keys = bus_of(brokers), random.Random(args.seed)
    await bus.connect()
    for first in range(0, args.number, 1000):
        numbers = range(first, min(first + 1000, args.number))
        events = [(n, delivery.event(n, keys.randrange(args.keys))) for n in numbers]
        await asyncio.gather(
            *(bus.publish(subject, payload, dedupe=dedupe_id(subject, str(n))) for n, payload in events)
        )
    await bus.close()


async def plain(brokers: str, subject: str, count: int) -> dict[str, float]:
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, group_id="plain", enable_auto_commit=False)
    await consumer.start()
    place, seen, committed = TopicPartition(subject, 0), 0, 0
    consumer.assign([place])
    consumer.seek(place, 0)
    began, used = time.monotonic(), delivery.cpu()
    while seen < count:
        seen += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        if seen - committed >= 1000:
            committed = seen
            await consumer.commit({place: OffsetAndMetadata(seen, "")})
    seconds, used = time.monotonic() - began, delivery.cpu() - used
    await consumer.stop()
    return {"events/s": count / seconds, "us/event": used / count * 1e6}


def run(args: argparse.Namespace, directory: Path) -> None:
    size = len(delivery.event(0, 0))
    print(f"{delivery.machine()}; {args.number:,} events of {size} B, {args.keys} keys, seed {args.seed}\n")
    kafka = start_kafka(directory / "kafka")
    pid = None
    delivery.bus_of = bus_of  # type: ignore[assignment]  # its owner, our bus
    try:
        pid, address = delivery.replica(directory)
        print("| what | figures |\n|---|---|")
        rates: dict[str, list[float]] = {"proxy": [], "plain": []}
        for round_ in range(1, args.rounds + 1):
            subject = f"backlog-{round_}"
            uvloop.run(fill(kafka.bootstrap, subject, args))
            where: Any = kafka.bootstrap
            figures = uvloop.run(delivery.delivered(where, pid, address, subject, args.number))
            rates["proxy"].append(figures["events/s"])
            delivery.show(f"proxy to one replica, run {round_}", figures)
            figures = uvloop.run(plain(kafka.bootstrap, subject, args.number))
            rates["plain"].append(figures["events/s"])
            delivery.show(f"plain aiokafka consumer, run {round_}", figures)
        ours, theirs = (statistics.median(rates[name]) for name in ("proxy", "plain"))
        print(f"\nproxy / plain consumer, medians: {ours / theirs:.2f}")
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        kafka.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-n", "--number", type=int, default=40_000)
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="evk") as directory:
        run(parser.parse_args(), Path(directory))


if __name__ == "__main__":
    main()
