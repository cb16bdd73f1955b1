"""Acknowledged publishes per second, with every event on disk before its acknowledgement and without.

python benchmarks/durability.py [--seconds 2]

One process publishes events of 0.3 KB through the bus to a nats-server of its own on this machine; a number of callers
each publish again as soon as they are acknowledged. ``slow disk``: strace lets every fsync of the server take 1 ms
longer; it also slows every other system call of the server's a little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from api.meta import Key
from api.model import Bus
from api.platform import Durability
from eventbus import cloudevents
from eventbus.jetstream.bus import JetStreamBus
from tests.brokers import Nats, start_nats

CALLERS = (1, 16, 100)
DELAY = 1000
"""Microseconds by which strace lengthens each fsync."""
BODY = b'"' + b"x" * 200 + b'"'


class Case(NamedTuple):
    durability: Durability
    slow: bool
    grouped: bool

    def __str__(self) -> str:
        words = f"{self.durability}{', slow disk' if self.slow else ''}"
        return words if self.durability == "os" else f"{words}, {'group commit' if self.grouped else 'one by one'}"


CASES = (
    Case("os", slow=False, grouped=False),
    Case("sync", slow=False, grouped=False),
    Case("sync", slow=False, grouped=True),
    Case("sync", slow=True, grouped=False),
    Case("sync", slow=True, grouped=True),
)


@contextmanager
def broker(folder: Path, case: Case) -> Iterator[Nats]:
    server = start_nats(folder, case.durability)
    tracer = None
    if case.slow:
        strace = shutil.which("strace")
        if strace is None:
            raise SystemExit("strace is missing: run scripts/ci-packages")
        inject = f"inject=fsync,fdatasync:delay_exit={DELAY}"
        command = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", inject, "-o", os.devnull]
        tracer = subprocess.Popen([*command, "-p", str(server.pid)])
        time.sleep(1)  # strace has to attach to every thread, and says nothing when it is quiet
    try:
        yield server
    finally:
        if tracer is not None:
            tracer.terminate()
            tracer.wait(10)
        server.stop()


async def publishes(server: Nats, case: Case, callers: int, seconds: float) -> tuple[float, float, float]:
    """Acknowledged per second, and the times of one in milliseconds: p50, p99."""
    key = Key("bench", f"{callers}")
    options = {**server.options, **({"durability": "sync"} if case.grouped else {})}
    bus = JetStreamBus(Bus(key=key, kind="nats", options=options), str)
    await bus.connect()
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(name: int) -> None:
        number = 0
        while (began := time.perf_counter()) < end:
            number += 1
            identity = f"{name}-{number}"
            event = cloudevents.encode(id=identity, source="/bench", type="t", body=BODY)
            await bus.publish("topic", event, dedupe=identity)
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    took = time.perf_counter() - began
    await bus.close()
    times.sort()
    return len(times) / took, times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0, help="of each case")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}", end="")
    print(f", load {os.getloadavg()[0]:.1f}\n\n| | callers | publishes/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder, broker(Path(folder), case) as server:
            for callers in CALLERS:
                rate, middle, slowest = asyncio.run(publishes(server, case, callers, seconds))
                print(f"| {case} | {callers} | {rate:,.0f} | {middle:.2f} | {slowest:.2f} |", flush=True)


if __name__ == "__main__":
    main()
