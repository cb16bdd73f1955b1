"""Trials that a sound build passes and a broken one fails: each a platform, a flow of events, one kind of trouble."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.arena import FAULTS, Arena, World
from tests.faults.campaign import dead, drain, play
from tests.faults.journal import Ledger
from tests.faults.ledger import Verdict
from tests.faults.producers import message, messages
from tests.faults.schedule import Schedule, Strike
from tests.platform import until

SEED = 20261121
CREDIT = 4
"""Of one replica, as the project says."""
STRIKES = (0.2, 0.5, 0.75)


@contextmanager
def arena(folder: Path, world: World | None = None, *, seed: int = SEED, **options: Any) -> Iterator[Arena]:
    world = world or World(bus="embedded", source="mqtt")
    print(f"FAULT_SEED={seed} {world}")
    with Ledger(folder / "ledger") as ledger, Arena(world, folder, ledger, seed=seed, **options) as opened:
        yield opened


def struck(kind: str) -> Schedule:
    """One period in which *kind* strikes three times."""
    return Schedule(SEED, (tuple(Strike(kind, at, 1.0) for at in STRIKES),))


def replicas_killed(folder: Path) -> Verdict:
    with arena(folder, replicas=(2, 2)) as it:
        return play(it, struck("replica killed"), events=300, work=0.02, budget=len(STRIKES) * CREDIT).verdict


def proxy_killed(folder: Path) -> Verdict:
    with arena(folder, replicas=(1, 1)) as it:
        return play(it, struck("proxy killed"), events=300, work=0.02).verdict


def scaled_in(folder: Path) -> Verdict:
    """Nothing is killed, so nothing may come twice."""

    def squeeze(it: Arena, _seconds: float) -> None:
        low = 1 if len(it.platform.replicas("ledger")) > 1 else 4
        it.platform.evoke("scale", "ledger", "--min", str(low), "--max", str(low))
        until(lambda: len(it.platform.replicas("ledger")) == low, what=f"{low} replicas")

    FAULTS.setdefault("scaled in", squeeze)
    with arena(folder, replicas=(4, 4)) as it:
        return play(it, struck("scaled in"), events=450, work=0.05, budget=0).verdict


def handler_fails(folder: Path) -> Verdict:
    with arena(folder, failures=0.05, replicas=(1, 2)) as it:
        return play(it, Schedule(SEED, ((),)), events=300, budget=0).verdict


def bus_full(folder: Path) -> Verdict:
    """More is published than the bus takes; what it refused was said to be refused."""
    body = "x" * 1000
    with arena(folder, World(bus="full", source="http"), replicas=(1, 1), concurrency=1) as it:
        it.producer.publish(messages(range(1500), keys=16, work=0.02, body=body))
        drain(it)
        return it.ledger.verdict(dead(it), budget=0)


def parked_then_killed(folder: Path) -> Verdict:
    """Events wait for their second attempt while the proxy dies; their attempts go on where they were."""
    chance = random.Random(SEED)
    failing = set(chance.sample(range(60), 12))
    with arena(folder, replicas=(1, 1), backoff="2s", retry=3) as it:
        flow = [message(n, f"k{n}", fails=2 if n in failing else 0) for n in range(60)]
        it.producer.publish(flow)
        first = {one.id for one in flow if one.fails}
        until(lambda: it.ledger.missing() == len(first), what="the sound events handled")
        until(lambda: {id_ for id_, attempt in it.ledger.starts() if attempt == 1} >= first, what="each failed once")
        all_parked(it, len(first))
        it.platform.kill("plane")
        drain(it)
        begun = Counter(id_ for id_, _ in it.ledger.starts())
        assert max(begun.values()) <= 3, "attempts began anew after the kill"
        return it.ledger.verdict(dead(it))


def all_parked(it: Arena, count: int) -> None:
    """The proxy says that so many events wait for their next attempt."""

    def parked() -> int:
        return sum(one.get("parked", 0) for one in it.platform.status("ledger")["subscriptions"])

    until(lambda: parked() == count, what=f"{count} parked")


TRIALS: dict[str, Callable[[Path], Verdict]] = {
    "replicas killed": replicas_killed,
    "proxy killed": proxy_killed,
    "scaled in": scaled_in,
    "handler fails": handler_fails,
    "bus full": bus_full,
    "parked, then the proxy killed": parked_then_killed,
}
