"""The ledger under a long seeded fault schedule: every kind of broker, one after the other, many events.

``python -m benchmarks.soak --seed N --events N --minutes N [--worlds nats:nats=3,kafka:kafka=1]``. Each world is a
platform of its own with two proxies. What a world came to stands in the state folder, so that a run that was
interrupted goes on with the worlds that are missing; when all are there the page is written. Exit 0 when every world
is clean, else 1.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from tests.faults.arena import World, worlds
from tests.faults.campaign import Outcome, play
from tests.faults.ledger import Verdict
from tests.faults.project import BATCH
from tests.faults.schedule import Schedule, draw
from tests.faults.trials import arena

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WORLDS = "nats:nats=45,kafka:kafka=40,mosquitto:nats=11,mosquitto:mqtt=4"
"""Source and bus, and the part of all events that it gets; an MQTT bus takes the events of one topic one by one."""
PERIODS = 12
KEYS = 256
CHUNK = 1024
BACKLOG = 20_000
LONGEST = 15.0
"""Seconds that a fault lasts at most: longer than it takes to replace an owner that stands still."""


class Part(msgspec.Struct, kw_only=True):
    """What one world came to."""

    world: str
    events: int
    outcome: Outcome
    schedule: Schedule
    commit: str


def run(world: World, options: argparse.Namespace, share: float) -> Part:
    """Play one world; its files are deleted when it was clean."""
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{world.source}-{world.bus}-"))
    each = math.ceil(options.events * share / PERIODS)
    minutes = options.minutes / len(options.worlds.split(","))
    end = time.monotonic() + minutes * 60
    with arena(folder, world, seed=options.seed, proxies=1, code=BATCH, concurrency=100, replicas=(1, 3)) as it:
        schedule = draw(options.seed, it.kinds(), PERIODS, longest=min(LONGEST, minutes * 60 / PERIODS))
        outcome = play(
            it, schedule, events=each, chunk=CHUNK, keys=KEYS, work=0.0, backlog=BACKLOG, until_time=end, tell=say
        )
    part = Part(world=str(world), events=each * PERIODS, outcome=outcome, schedule=schedule, commit=commit())
    say(f"{world}: {outcome}")
    if outcome.clean:
        shutil.rmtree(folder)
    else:
        say(f"its files: {folder}")
    return part


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()


def versions() -> str:
    """One line of what took part."""
    from importlib.metadata import version

    from eventbus import embedded
    from tests.kafka import VERSION
    from tests.mosquitto import PROGRAM

    said = subprocess.run([PROGRAM or "mosquitto", "-h"], capture_output=True, text=True, check=False).stdout
    mosquitto = said.split("\n", 1)[0].removeprefix("mosquitto version ")
    clients = ", ".join(f"{name} {version(name)}" for name in ("nats-py", "aiokafka", "paho-mqtt"))
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
    brokers = f"nats-server {embedded.VERSION}, Kafka {VERSION}, mosquitto {mosquitto}"
    return f"Python {platform.python_version()}, {brokers}; {clients}; {system}"


def page(parts: list[Part], options: argparse.Namespace) -> str:
    """The result as Markdown."""
    rows = [_row(part) for part in parts]
    kinds: dict[str, int] = {}
    for part in parts:
        for kind, count in part.schedule.kinds().items():
            kinds[kind] = kinds.get(kind, 0) + count
    acked = sum(part.outcome.verdict.acked for part in parts)
    lost = sum(len(part.outcome.verdict.lost) for part in parts)
    strikes = sum(part.schedule.strikes for part in parts)
    struck = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    head = ["source to bus", "acknowledged", "handled", "dead letters", "lost", "phantom", "corrupt"]
    head += ["keys out of order", "twice", "faults", "slowest drain", "time"]
    schedule = f"soak-{options.seed}.json"
    return f"""# Soak: the ledger under faults

{acked:,} acknowledged events over {len(parts)} worlds, {strikes} faults, **lost {lost}**.

| {" | ".join(head)} |
{"|---" * len(head)}|
{chr(10).join(rows)}

Each world is a platform with two proxies and up to three replicas of one function, {KEYS} keys, and brokers of its own
behind a TCP relay. After every period everything is healed and has to be drained within 60 s. *twice* counts receipts
beyond the first: at least once, not exactly once.

Faults and how often each struck: {struck}.

Again: `make soak SEED={options.seed} MINUTES={options.minutes:g} EVENTS={options.events}`. The schedule that the seed
draws stands in [{schedule}]({schedule}); playing it again is close, not exact: faults strike real processes at the same
events, not at the same instruction.

Commit {parts[0].commit}; {versions()}.
"""


def _row(part: Part) -> str:
    verdict: Verdict = part.outcome.verdict
    return (
        f"| {part.world} | {verdict.acked:,} | {verdict.received:,} | {verdict.dead} | {len(verdict.lost)} "
        f"| {len(verdict.phantom)} | {len(verdict.corrupt)} | {len(verdict.misordered)} | {verdict.duplicates:,} "
        f"| {part.schedule.strikes} | {max(part.outcome.drains, default=0):.1f} s | {part.outcome.seconds:.0f} s |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--events", type=int, default=1_000_000, help="over all worlds")
    parser.add_argument("--minutes", type=float, default=25.0, help="each world may take an equal part")
    parser.add_argument(
        "--worlds", default=WORLDS, help=f"source:bus=part of the events, several with commas [{WORLDS}]"
    )
    parser.add_argument("--state", type=Path, default=None, help="where finished worlds stand")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the page goes")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the producer's own client tells of every fault
    state = options.state or Path(tempfile.gettempdir()) / f"evoke-soak-{options.seed}-{options.events}"
    state.mkdir(parents=True, exist_ok=True)
    named = [name.partition("=")[::2] for name in options.worlds.split(",")]
    weights = [float(weight or 1) for _, weight in named]
    parts = []
    for world, weight in zip(worlds([name for name, _ in named]), weights, strict=True):
        kept = state / f"{world.source}-{world.bus}.json"
        if not kept.exists():
            part = run(world, options, weight / sum(weights))
            if not part.outcome.clean:
                return 1
            kept.write_bytes(msgspec.json.encode(part))
        parts.append(msgspec.json.decode(kept.read_bytes(), type=Part))
    schedules = {part.world: part.schedule for part in parts}
    text = msgspec.json.format(msgspec.json.encode(schedules), indent=1)
    (options.results / f"soak-{options.seed}.json").write_bytes(text + b"\n")
    (options.results / "soak.md").write_text(page(parts, options))
    shutil.rmtree(state)
    say(f"written: {options.results / 'soak.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
