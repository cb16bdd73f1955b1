"""What quiet apps of one proxy notice of a bad neighbour: of 200 one is slow, crashing, flooding or saturating.

    python -m benchmarks.dapr_neighbours [-n 200] [--rate 100] [--seconds 20] [--rounds 2] [--only slow...]

An event of a quiet app counts from its publish to its arrival there. Each neighbour has a proxy of its own, whose quiet
apps are measured first without and then with it. Slow: every event takes a second, with a backlog; crashing: every
attempt fails; flooding: events are published as fast as bulk requests go, and taken; saturating: a backlog is delivered
as fast as the app takes it, while more comes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from api.platform import LOOPBACK
from benchmarks.dapr_world import BULK, JSON, World, bulk, post
from benchmarks.delivery import machine
from replicas.http import HttpClient

BEHAVIOURS = {"slow": "slow", "crashing": "crash", "flooding": "fast", "saturating": "fast"}
BACKLOG = {"slow": 2_000, "crashing": 2_000, "saturating": 50_000}
FLOODED = frozenset({"flooding", "saturating"})
DRAIN = 3.0
"""Seconds after the last publish until the figures are read."""


class Quiet:
    """The apps that are measured: all but the first."""

    def __init__(self, world: World, args: argparse.Namespace) -> None:
        self._world, self._args, self._client = world, args, HttpClient()
        self._choice = random.Random(args.seed)

    async def measured(self, seconds: float) -> list[float]:
        """Latencies in ms of *seconds* of events at the rate."""
        await self._latencies()
        tasks, start = [], time.monotonic()
        for number in range(int(self._args.rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / self._args.rate - time.monotonic()))
            tasks.append(asyncio.create_task(self._publish(self._choice.randrange(1, self._args.number))))
        await asyncio.gather(*tasks)
        await asyncio.sleep(DRAIN)
        return await self._latencies()

    async def close(self) -> None:
        await self._client.aclose()

    async def _publish(self, number: int) -> None:
        app = self._world.apps[number]
        body = json.dumps({"at": time.monotonic()}).encode()
        await post(self._client, app.http, f"/v1.0/publish/bus/{app.id}", body)

    async def _latencies(self) -> list[float]:
        """Since the last call."""
        reply = await self._client.request(f"{LOOPBACK}:{self._world.app_port}", "GET", "/latencies", JSON, timeout=60)
        told: dict[str, list[float]] = json.loads(await reply.read(1 << 26))
        return [one for some in told.values() for one in some]


@contextlib.contextmanager
def flooding(port: int, app: str) -> Iterator[None]:
    """A process of its own publishes as fast as it can."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.dapr_world", "flood", str(port), app])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def beside(name: str, directory: Path, args: argparse.Namespace) -> None:
    """One line of the table."""
    world = World(directory, [BEHAVIOURS[name], *["quiet"] * (args.number - 1)], credit=10)
    with world.answering():
        async with world.serving(ready=True):
            quiet, bad = Quiet(world, args), world.apps[0]
            await quiet.measured(3)  # warm
            alone = await quiet.measured(args.seconds)
            client = HttpClient()
            for _ in range(BACKLOG.get(name, 0) // BULK):
                await bulk(client, bad.http, bad.id)
            await client.aclose()
            with flooding(bad.http, bad.id) if name in FLOODED else contextlib.nullcontext():
                found = await quiet.measured(args.seconds)
            await quiet.close()
    before, after = (statistics.quantiles(some, n=1000) for some in (alone, found))
    figures = [f"{before[at]:.1f} -> {after[at]:.1f}" for at in (499, 989)]
    count = f"{len(found)}/{int(args.rate * args.seconds)}"
    more = f"{after[989] / before[989]:.2f}x, {after[989] - before[989]:+.1f} ms"
    print(f"| {name} | {count} | {' | '.join(figures)} | {more} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--number", type=int, default=200)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[*BEHAVIOURS], default=[*BEHAVIOURS])
    args = parser.parse_args()
    os.umask(0o077)
    print(f"{machine()}; {args.number} apps, {args.rate} quiet events/s, seed {args.seed}\n")
    print("| beside | arrived | p50 ms | p99 ms | p99 |\n|---|---|---|---|---|")
    for _ in range(args.rounds):
        for name in args.only:
            with tempfile.TemporaryDirectory() as directory:
                uvloop.run(beside(name, Path(directory), args))


if __name__ == "__main__":
    main()
