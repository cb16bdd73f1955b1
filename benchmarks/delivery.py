"""Delivery: a stored backlog through the proxy into one replica, beside a plain nats-py consumer of the same stream.

python benchmarks/delivery.py [-n 60000] [--keys 64] [--rate 1000] [--seed 1]

Every party is a process of its own: nats-server, the replica (the real framework with an async handler), the publisher,
and this one, which is the proxy's owner first and the plain consumer after it. The proxy keeps the order of keys,
filters, records progress and posts over a Unix socket; the plain consumer fetches and acknowledges, and does nothing
with what it gets: it is the ceiling of the client library, not an alternative.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import nats
import uvloop

from api.frames import Endpoint, Endpoints
from api.meta import Key, RevisionKey
from api.model import Backend, Bus, Subscription
from eventbus import embedded, subjects
from eventbus.connect import connect
from eventbus.jetstream.bus import JetStreamBus
from functions_framework import server
from functions_framework.app import App
from functions_framework.loader import load
from proxy.owner import Owner
from proxy.wiring import Wiring
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.brokers import start_nats

HANDLER = "import functions_framework as ff\n\n\n@ff.cloud_event\nasync def handle(event):\n    event.data\n"
BUS = Key("bench", "default")
REVISION = RevisionKey("bench", "handle", "00001")
CREDIT = 32
"""Concurrency of an async handler by default."""


def event(number: int, key: int) -> bytes:
    """One event of about 300 bytes."""
    members = {
        "specversion": "1.0",
        "id": f"id-{number}",
        "source": "mqtt://readings/kitchen",
        "type": "io.evoke.mqtt.message",
        "subject": f"sensors/{key}",
        "partitionkey": f"sensors/{key}",
        "time": "2026-01-31T12:00:00Z",
        "data": {"celsius": 31, "humidity": 0.4, "text": "x" * 60},
    }
    return json.dumps(members, separators=(",", ":")).encode()


def replica(directory: Path) -> tuple[int, str]:
    """Fork a process that serves the handler; its pid and address."""
    (directory / "main.py").write_text(HANDLER)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{directory}/r.sock")
    listener.listen(64)
    pid = os.fork()
    if pid == 0:
        os._exit(server.run(App(load(directory / "main.py", "")), [listener]))
    listener.close()
    return pid, f"unix:{directory}/r.sock"


def bus_of(settings: embedded.Settings) -> JetStreamBus:
    options = {"url": f"nats://{settings.nats}", "user": settings.user, "password": settings.password}
    bus = connect(Bus(key=BUS, kind="nats", options=dict(options)), str)
    assert isinstance(bus, JetStreamBus)
    return bus


def publisher(settings: embedded.Settings, subject: str, count: int, args: argparse.Namespace, rate: float) -> int:
    """Fork a process that publishes *count* events, at *rate* a second or, with 0, as fast as it can; its pid."""
    pid = os.fork()
    if pid:
        return pid
    keys = random.Random(args.seed)

    async def publish() -> None:
        bus = bus_of(settings)
        await bus.connect()
        began, pending = time.monotonic(), set[asyncio.Task[None]]()
        for number in range(count):
            if rate:
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            elif len(pending) >= 500:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            pending.add(asyncio.create_task(bus.publish(subject, event(number, keys.randrange(args.keys)))))
            if rate:
                pending = {task for task in pending if not task.done()}
        await asyncio.gather(*pending)
        await bus.close()

    uvloop.run(publish())
    os._exit(0)


def ended(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"a process of the benchmark failed: {status}")


def cpu(pid: int | None = None) -> float:
    """Seconds of processor time so far."""
    if pid is None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def owner(settings: embedded.Settings, address: str, subject: str) -> AsyncIterator[Owner]:
    """The proxy's owner of one subscription with one replica, as proxy.main puts it together."""
    subscription = Subscription(
        key=Key("bench", f"handle.{subject}"),
        bus=BUS,
        subject=subject,
        group=f"handle-{subject}",
        trigger="handle",
        backends=(Backend(revision=REVISION),),
        start="all",
    )
    bus, table = bus_of(settings), ReplicaTable()
    await bus.connect()
    wiring = Wiring(http=HttpClient(), table=table, send=lambda _frame: None)
    made = Owner(subscription, lambda: bus, wiring, "proxy-0")
    table.subscribe(lambda _revision: made.poke())
    endpoint = Endpoint(replica="r", address=address, credit=CREDIT, batch=100, ordered=True)
    table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint,)))
    try:
        yield made
    finally:
        await made.stop()
        await wiring.http.aclose()
        await bus.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():  # noqa: ASYNC110 - the owner has no event for it
            await asyncio.sleep(0.01)


async def delivered(settings: embedded.Settings, pid: int, address: str, subject: str, count: int) -> dict[str, float]:
    """Figures of *count* stored events until the last one is done."""
    async with owner(settings, address, subject) as made:
        began, used, theirs = time.monotonic(), cpu(), cpu(pid)
        made.start()
        await until(lambda: made._meter.done >= count)
        seconds, used, theirs = time.monotonic() - began, cpu() - used, cpu(pid) - theirs
        (reading,) = made.readings()
    return {
        "events/s": count / seconds,
        "proxy us/event": used / count * 1e6,
        "replica us/event": theirs / count * 1e6,
        "wait p50 ms": reading.wait_p50_ms,
        "wait p99 ms": reading.wait_p99_ms,
    }


async def paced(
    settings: embedded.Settings, address: str, args: argparse.Namespace, start: Callable[[], int]
) -> dict[str, float]:
    """Waits of events that come at a steady rate, far below what the proxy can do."""
    count = args.rate * 5
    async with owner(settings, address, "paced") as made:
        made.start()
        await until(lambda: made.hold is not None)
        pid, used = start(), cpu()
        await until(lambda: made._meter.done >= count)
        used = cpu() - used
        (reading,) = made.readings()
    ended(pid)
    return {
        "events/s": float(args.rate),
        "proxy us/event": used / count * 1e6,
        "wait p50 ms": reading.wait_p50_ms,
        "wait p99 ms": reading.wait_p99_ms,
    }


async def plain(settings: embedded.Settings, subject: str, count: int) -> dict[str, float]:
    """The same stream, fetched 256 at a time and acknowledged one by one with nats-py."""
    client = await nats.connect(f"nats://{settings.nats}", user=settings.user, password=settings.password)
    topic = subjects.topic(BUS, subject)
    consumer = await client.jetstream().pull_subscribe(topic.events, durable="plain", stream=topic.stream)
    began, used, done = time.monotonic(), cpu(), 0
    while done < count:
        for message in await consumer.fetch(256, timeout=10):
            await message.ack()
            done += 1
    seconds, used = time.monotonic() - began, cpu() - used
    await client.close()
    return {"events/s": count / seconds, "consumer us/event": used / count * 1e6}


def show(name: str, figures: dict[str, float]) -> None:
    print(f"| {name} | " + ", ".join(f"{label} {value:,.2f}" for label, value in figures.items()) + " |")


def machine() -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    parts = [f"Python {sys.version.split()[0]}", f"nats-server {embedded.VERSION}"]
    parts += [f"{name} {version(name)}" for name in ("nats-py", "uvloop", "msgspec", "httptools")]
    return f"{len(models)} x {models[0]}; {', '.join(parts)}; load {os.getloadavg()[0]:.2f}"


def run(args: argparse.Namespace, directory: Path) -> None:
    print(f"{machine()}; {args.number:,} events of {len(event(0, 0))} B, {args.keys} keys, seed {args.seed}\n")
    broker = start_nats(directory, "os")
    settings = broker.settings
    pid = None
    try:
        pid, address = replica(directory)
        ended(publisher(settings, "backlog", args.number, args, 0))
        print("| what | figures |\n|---|---|")
        ours: list[float] = []
        theirs: list[float] = []
        for round_ in range(1, args.rounds + 1):
            subject = "backlog" if round_ == 1 else f"backlog-{round_}"
            if round_ > 1:
                ended(publisher(settings, subject, args.number, args, 0))
            figures = uvloop.run(delivered(settings, pid, address, subject, args.number))
            ours.append(figures["events/s"])
            show(f"proxy to one replica, run {round_}", figures)
            figures = uvloop.run(plain(settings, subject, args.number))
            theirs.append(figures["events/s"])
            show(f"plain nats-py consumer, run {round_}", figures)
        start = lambda: publisher(settings, "paced", args.rate * 5, args, args.rate)  # noqa: E731 - a name for one call
        show(f"proxy at {args.rate}/s for 5 s", uvloop.run(paced(settings, address, args, start)))
        print(f"\nproxy / plain consumer, medians: {statistics.median(ours) / statistics.median(theirs):.2f}")
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        broker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-n", "--number", type=int, default=60_000)
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="evk") as directory:
        run(parser.parse_args(), Path(directory))


if __name__ == "__main__":
    main()
