"""Memory of one proxy that serves many Dapr apps of which none does anything; each has its listeners and a topic.

python -m benchmarks.dapr_idle [-n 200]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

import uvloop

from benchmarks.dapr_world import World
from benchmarks.delivery import machine
from benchmarks.processes import Usage

SETTLE = 10.0
"""Seconds between the last subscription and the reading: what starting needed is given back."""


async def resident(count: int, directory: Path) -> tuple[int, int, float]:
    """Bytes resident and proportional, and the share of a core."""
    world = World(directory, ["quiet"] * count, credit=32)
    async with world.serving(ready=False) as pid:
        await asyncio.sleep(SETTLE)
        usage = Usage(pid)
        await asyncio.sleep(SETTLE)
        return usage.resident(), usage.proportional(), usage.seconds() / SETTLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--number", type=int, default=200)
    args = parser.parse_args()
    os.umask(0o077)
    print(f"{machine()}\n\n| idle apps | RSS MB | PSS MB | of a core |\n|---|---|---|---|")
    for count in sorted({1, args.number}):
        with tempfile.TemporaryDirectory() as directory:
            whole, shared, busy = uvloop.run(resident(count, Path(directory)))
            print(f"| {count} | {whole / 1e6:.1f} | {shared / 1e6:.1f} | {busy:.1%} |", flush=True)


if __name__ == "__main__":
    main()
