"""Parallelism: the events of one share, in the order of their keys, over one replica and over eight.

python benchmarks/parallelism.py [--bus nats|kafka] [--per-replica 60] [--keys 64] [--rounds 3] [--seed 1]

The handler is a plain ``def`` that takes 100 ms, so one replica does at most ten events a second. All events stand in
one share: one JetStream consumer, or one partition of a Kafka topic, which in a consumer group would have one consumer
and so one replica. Every replica is a process of its own with the real framework; the broker is one too. Each handler
appends a line when it starts and when it ends, from which order and overlap of every key are checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from api.frames import Endpoint, Endpoints
from api.meta import Key, RevisionKey
from api.model import Backend, Bus, Subscription
from eventbus.connect import connect
from functions_framework import server
from functions_framework.app import App
from functions_framework.loader import load
from proxy.owner import Owner
from proxy.wiring import Wiring
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.brokers import start_nats

HANDLER = """\
import os
import time

import functions_framework as ff

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@ff.cloud_event
def handle(event):
    os.write(ledger, f"+ {event['partitionkey']} {event.data}\\n".encode())
    time.sleep(0.1)
    os.write(ledger, f"- {event['partitionkey']} {event.data}\\n".encode())
"""
BUS = Key("bench", "default")
REVISION = RevisionKey("bench", "handle", "00001")
REPLICAS = (1, 8)


def event(number: int, key: int) -> bytes:
    members = {"specversion": "1.0", "id": str(number), "source": "/bench", "type": "t", "partitionkey": f"k{key}"}
    return json.dumps({**members, "data": number}).encode()


@contextmanager
def nats(directory: Path) -> Iterator[dict[str, str]]:
    """A nats-server; the options of a bus on it."""
    broker = start_nats(directory, "os")
    try:
        yield broker.options
    finally:
        broker.stop()


@contextmanager
def kafka(directory: Path) -> Iterator[dict[str, str]]:
    """A Kafka broker; the options of a bus on it whose topics have one partition."""
    from tests.kafka import start_kafka

    broker = start_kafka(directory)
    try:
        yield {**broker.options, "partitions": "1"}
    finally:
        broker.stop()


@contextmanager
def replicas(directory: Path, count: int, ledger: Path) -> Iterator[list[str]]:
    """Addresses of *count* processes that serve the handler."""
    directory.mkdir()
    (directory / "main.py").write_text(HANDLER)
    pids, addresses = [], []
    for number in range(count):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{directory}/{number}.sock")
        listener.listen(64)
        pid = os.fork()
        if pid == 0:
            os.environ["LEDGER"] = str(ledger)
            os._exit(server.run(App(load(directory / "main.py", "")), [listener]))
        listener.close()
        pids.append(pid)
        addresses.append(f"unix:{directory}/{number}.sock")
    try:
        yield addresses
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            os.waitpid(pid, 0)


async def delivered(
    bus: Bus, addresses: list[str], subject: str, numbers: int, keys: random.Random, most: int
) -> float:
    """Events per second from the first to the last of *numbers* stored events."""
    subscription = Subscription(
        key=Key("bench", f"handle.{subject}"),
        bus=BUS,
        subject=subject,
        group=f"handle-{subject}",
        trigger="handle",
        backends=(Backend(revision=REVISION),),
        start="all",
    )
    made, table = connect(bus, str), ReplicaTable()
    await made.connect()
    for number in range(numbers):
        await made.publish(subject, event(number, keys.randrange(most)))
    wiring = Wiring(http=HttpClient(), table=table, send=lambda _frame: None)
    owner = Owner(subscription, lambda: made, wiring, "proxy-0")
    table.subscribe(lambda _revision: owner.poke())
    owner.start()
    while owner.hold is None:  # noqa: ASYNC110 - the owner has no event for it
        await asyncio.sleep(0.01)
    endpoints = tuple(
        Endpoint(replica=f"r{number}", address=address, credit=1, batch=100, ordered=True)
        for number, address in enumerate(addresses)
    )
    began = time.monotonic()
    table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=endpoints))
    async with asyncio.timeout(numbers):
        while owner._meter.done < numbers:  # noqa: ASYNC110 - the owner has no event for it
            await asyncio.sleep(0.005)
    seconds = time.monotonic() - began
    await owner.stop()
    await wiring.http.aclose()
    await made.close()
    return numbers / seconds


def check(ledger: Path, numbers: int) -> str:
    """What the handlers wrote down: every event once, each key in order, and never two of one key at a time."""
    running: dict[str, int] = {}
    last: dict[str, int] = {}
    seen = 0
    for line in ledger.read_text().splitlines():
        sign, key, text = line.split()
        number = int(text)
        if sign == "+":
            assert key not in running, f"{key}: {number} began while {running[key]} ran"
            assert last.get(key, -1) < number, f"{key}: {number} came after {last[key]}"
            running[key] = last[key] = number
            seen += 1
        else:
            assert running.pop(key) == number
    assert seen == numbers, f"{seen} of {numbers} events"
    return "kept"


def machine() -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(models)} x {models[0]}; Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.2f}"


def run(args: argparse.Namespace, directory: Path) -> None:
    print(f"{machine()}; one share, {args.keys} keys, handler 100 ms, seed {args.seed}, bus {args.bus}\n")
    print("| bus | replicas | events | events/s of each run | median | order |\n|---|---|---|---|---|---|")
    medians: list[float] = []
    with {"nats": nats, "kafka": kafka}[args.bus](directory) as options:
        bus = Bus(key=BUS, kind=args.bus, options=dict(options))
        for count in REPLICAS:
            numbers, rates = count * args.per_replica, []
            for round_ in range(args.rounds):
                subject, keys = f"bench-{count}-{round_}", random.Random(args.seed + round_)
                ledger = directory / f"{subject}.ledger"
                with replicas(directory / subject, count, ledger) as addresses:
                    rates.append(uvloop.run(delivered(bus, addresses, subject, numbers, keys, args.keys)))
                order = check(ledger, numbers)
            medians.append(statistics.median(rates))
            each = ", ".join(f"{rate:.1f}" for rate in rates)
            print(f"| {args.bus} | {count} | {numbers} | {each} | {medians[-1]:.1f} | {order} |", flush=True)
    print(f"\n{REPLICAS[1]} replicas / {REPLICAS[0]} replica: {medians[1] / medians[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bus", choices=("nats", "kafka"), default="nats")
    parser.add_argument("--per-replica", type=int, default=60, help="events for each replica")
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="evk") as directory:
        run(parser.parse_args(), Path(directory))


if __name__ == "__main__":
    main()
