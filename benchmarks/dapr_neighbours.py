"""What quiet apps of one proxy notice of a bad neighbour: of 200 one is slow, crashing, flooding or saturating.

    python -m benchmarks.dapr_neighbours [-n 200] [--rate 100] [--seconds 20] [--rounds 2]

An event of a quiet app counts from its publish to its arrival there. The figures beside a neighbour stand against
those of the same round without one. Slow: every event takes a second, with a backlog; crashing: every attempt fails;
flooding: events are published as fast as bulk requests go, and taken; saturating: a backlog is delivered as fast as the
app takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from api.platform import LOOPBACK
from benchmarks.dapr_world import World
from benchmarks.delivery import machine
from replicas.http import HttpClient

JSON = [(b"content-type", b"application/json")]
PHASES = ("alone", "slow", "crashing", "flooding", "saturating")
BEHAVIOURS = {"slow": "slow", "crashing": "crash", "flooding": "fast", "saturating": "fast"}
BULK = 100
BACKLOG = {"slow": 2_000, "crashing": 2_000, "saturating": 100_000}
DRAIN = 3.0
"""Seconds after the last publish until the figures are read."""


class Publisher:
    """Publishes as any app."""

    def __init__(self, world: World) -> None:
        self._world, self._client = world, HttpClient()

    async def quiet(self, number: int) -> None:
        """One event that says when it was sent."""
        body = json.dumps({"at": time.monotonic()}).encode()
        await self._post(number, f"/v1.0/publish/bus/app-{number}", body)

    async def bulk(self, number: int) -> None:
        entries = [{"entryId": str(n), "event": {"n": n}, "contentType": "application/json"} for n in range(BULK)]
        await self._post(number, f"/v1.0-alpha1/publish/bulk/bus/app-{number}", json.dumps(entries).encode())

    async def latencies(self) -> list[float]:
        """In ms, since the last call."""
        address = f"{LOOPBACK}:{self._world.app_port}"
        reply = await self._client.request(address, "GET", "/latencies", [], timeout=60)
        told: dict[str, list[float]] = json.loads(await reply.read(1 << 26))
        return [one for some in told.values() for one in some]

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, number: int, path: str, body: bytes) -> None:
        address = f"{LOOPBACK}:{self._world.apps[number].http}"
        reply = await self._client.request(address, "POST", path, JSON, body, timeout=120)
        await reply.read(1 << 20)


async def phase(name: str, publisher: Publisher, bad: int, args: argparse.Namespace) -> list[float]:
    """Latencies of the quiet apps beside the neighbour of that name."""
    for _ in range(BACKLOG.get(name, 0) // BULK):
        await publisher.bulk(bad)
    await publisher.latencies()
    flood = asyncio.create_task(_flood(publisher, bad)) if name == "flooding" else None
    choice, tasks = random.Random(args.seed), []
    start = time.monotonic()
    for number in range(int(args.rate * args.seconds)):
        await asyncio.sleep(max(0.0, start + number / args.rate - time.monotonic()))
        tasks.append(asyncio.create_task(publisher.quiet(choice.randrange(len(PHASES) - 1, args.number))))
    await asyncio.gather(*tasks)
    await asyncio.sleep(DRAIN)
    if flood is not None:
        flood.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flood
    return await publisher.latencies()


async def _flood(publisher: Publisher, bad: int) -> None:
    while True:
        await publisher.bulk(bad)


async def round_of(directory: Path, args: argparse.Namespace) -> None:
    behaviours = [BEHAVIOURS[name] for name in PHASES[1:]]
    world = World(directory, [*behaviours, *["quiet"] * (args.number - len(behaviours))], credit=10)
    with world.answering():
        async with world.serving(ready=True):
            publisher = Publisher(world)
            await phase("alone", publisher, 0, argparse.Namespace(**{**vars(args), "seconds": 5}))
            alone = 0.0
            for number, name in enumerate(PHASES):
                found = await phase(name, publisher, max(number - 1, 0), args)
                expected = int(args.rate * args.seconds)
                ranked = statistics.quantiles(found, n=1000)
                alone = alone or ranked[989]
                print(
                    f"| {name} | {len(found)}/{expected} | {ranked[499]:.1f} | {ranked[989]:.1f} | {max(found):.1f} "
                    f"| {ranked[989] / alone:.2f}x |",
                    flush=True,
                )
            await publisher.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--number", type=int, default=200)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    os.umask(0o077)
    print(f"{machine()}; {args.number} apps, {args.rate} quiet events/s, seed {args.seed}\n")
    print("| beside | arrived | p50 ms | p99 ms | max ms | p99 |\n|---|---|---|---|---|---|")
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as directory:
            uvloop.run(round_of(Path(directory), args))


if __name__ == "__main__":
    main()
