"""Publishing over Dapr's API, ours beside a real daprd: same client, same broker, same component, same run.

    python -m benchmarks.dapr_publish [--rate 500] [--seconds 20] [--bulk 100] [--rounds 2] [--broker kafka|redis]

Single events go open loop: each has its time to start, and its latency counts from then, so that a target which stalls
is not spared. Bulk requests go closed loop over several connections. Ours is `evoke dapr run` without an app; daprd has
no app either. At the end the events that were acknowledged are counted at the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from api.platform import LOOPBACK, spare
from benchmarks.delivery import machine
from benchmarks.processes import Usage, listening
from replicas.http import HttpClient
from tests.daprd.sidecar import Daprd, component
from tests.kafka import start_kafka
from tests.redis import start_redis

JSON = [(b"content-type", b"application/json")]
DATA = {"text": "x" * 960, "n": 0}
"""About 1 KB, as in Dapr's own measurements."""


@contextmanager
def ours(directory: Path, resource: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Port and pid of our proxy."""
    folder = directory / "resources"
    folder.mkdir(parents=True)
    (folder / "bus.yaml").write_text(yaml.safe_dump(resource))
    port = spare()
    words = ["-a", "bench", "-H", str(port), "-d", str(folder), "--state", str(directory / "state")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.app", "dapr", "run", *words, "--log-level", "error"], stdout=log, stderr=log
        )
    try:
        listening(port, process)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def theirs(directory: Path, resource: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Port and pid of daprd."""
    daprd = Daprd(directory, "bench", [resource])
    daprd.start()
    try:
        yield daprd.http, daprd.pid
    finally:
        daprd.stop()


async def post(client: HttpClient, port: int, path: str, body: bytes) -> int:
    reply = await client.request(f"{LOOPBACK}:{port}", "POST", path, JSON, body, timeout=60)
    await reply.read(1 << 20)
    return reply.status


async def singles(port: int, topic: str, args: argparse.Namespace) -> tuple[list[float], int]:
    """Latencies in ms of an open loop, and how many were acknowledged."""
    client = HttpClient()
    body = json.dumps(DATA).encode()
    latencies: list[float] = []
    done = 0

    async def one(due: float) -> None:
        nonlocal done
        done += await post(client, port, f"/v1.0/publish/bus/{topic}", body) == 204
        latencies.append((time.monotonic() - due) * 1000)

    count = int(args.rate * args.seconds)
    for _ in range(args.rate):  # warm: connections, code, the broker's metadata
        await one(time.monotonic())
    latencies.clear()
    start = time.monotonic() + 0.1
    tasks = []
    for number in range(count):
        due = start + number / args.rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    await client.aclose()
    return latencies, done


async def bulks(port: int, topic: str, args: argparse.Namespace) -> tuple[float, int]:
    """Events each second of a closed loop, and how many were acknowledged."""
    client = HttpClient()
    entries = [{"entryId": str(n), "event": DATA, "contentType": "application/json"} for n in range(args.bulk)]
    body, path = json.dumps(entries).encode(), f"/v1.0-alpha1/publish/bulk/bus/{topic}"
    end, done = time.monotonic() + args.seconds / 2, 0
    begun = time.monotonic()

    async def go_on() -> None:
        nonlocal done
        while time.monotonic() < end:
            if await post(client, port, path, body) in {200, 204}:
                done += args.bulk

    await post(client, port, path, body)
    await asyncio.gather(*(go_on() for _ in range(args.connections)))
    took = time.monotonic() - begun
    await client.aclose()
    return done / took, done + args.bulk


def measure(name: str, port: int, pid: int, topic: str, args: argparse.Namespace) -> tuple[dict[str, float], int]:
    """Figures of one round, and the events that were acknowledged."""
    usage = Usage(pid)
    latencies, single = uvloop.run(singles(port, topic, args))
    used = usage.seconds() / (args.rate * args.seconds) * 1e6
    bulk = Usage(pid)
    rate, many = uvloop.run(bulks(port, topic, args))
    ranked = statistics.quantiles(latencies, n=1000)
    figures = {
        "p50 ms": ranked[499],
        "p99 ms": ranked[989],
        "max ms": max(latencies),
        "us CPU/event": used,
        "bulk events/s": rate,
        "us CPU/bulk event": bulk.seconds() / many * 1e6,
        "RSS MB": usage.resident() / 1e6,
    }
    print(f"| {name} | " + " | ".join(f"{value:,.2f}" for value in figures.values()) + " |", flush=True)
    return figures, single + many


async def prepare(brokers: str, topics: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 4, 1) for topic in topics])
    await admin.close()


async def stored(brokers: str, topic: str) -> int:
    """Records of *topic*."""
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers)
    await consumer.start()
    places = [TopicPartition(topic, number) for number in range(4)]
    ends = await consumer.end_offsets(places)
    await consumer.stop()
    return sum(ends.values())


def run(args: argparse.Namespace, directory: Path) -> None:
    print(f"{machine()}; {args.broker}, {len(json.dumps(DATA))} B, {args.rate}/s, bulk {args.bulk}\n")
    if args.broker == "kafka":
        kafka = start_kafka(directory / "kafka")
        resource = component("pubsub.kafka", {"brokers": kafka.bootstrap, "authType": "none"})
        server: Any = kafka
    else:
        server = start_redis(directory / "redis")
        resource = component("pubsub.redis", {"redisHost": server.host})
    try:
        print("| target | p50 ms | p99 ms | max ms | us CPU/event | bulk events/s | us CPU/bulk event | RSS MB |")
        print("|---|---|---|---|---|---|---|---|")
        lost = []
        for round_ in range(args.rounds):
            for name, start in (("daprd 1.14", theirs), ("ours", ours)):
                topic = f"{name.split()[0]}-{round_}"
                if args.broker == "kafka":
                    asyncio.run(prepare(server.bootstrap, [topic]))
                with start(directory / topic, resource) as (port, pid):
                    # the warm-up is stored too
                    _, acknowledged = measure(name, port, pid, topic, args)
                if args.broker == "kafka" and (found := asyncio.run(stored(server.bootstrap, topic))) < acknowledged:
                    lost.append(f"{topic}: {acknowledged} acknowledged, {found} stored")
        print("\n" + ("\n".join(lost) or "every acknowledged event is stored" if args.broker == "kafka" else ""))
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--bulk", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--broker", choices=("kafka", "redis"), default="kafka")
    args = parser.parse_args()
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        run(args, Path(directory))
        print(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
