"""Retries over hours of virtual time: nothing is lost, keys keep their order, no attempt comes early or is forgotten,
and what is held stays bounded, whatever fails and crashes when. SIM_SEED repeats one run."""

from __future__ import annotations

import os
from datetime import timedelta
from random import Random

import pytest

from api.delivery import Backoff, DeliveryPolicy, Ordering
from proxy import loose
from tests.simulation.clock import Clock
from tests.simulation.retries import World

SEEDS = [int(seed) for seed in os.environ.get("SIM_SEED", "").split(",") if seed] or list(range(25))
CAPACITY = 32
EVENTS = 400


def run(seed: int, ordering: Ordering) -> World:
    random = Random(seed)
    policy = DeliveryPolicy(
        max_attempts=6, ordering=ordering, backoff=Backoff(initial=timedelta(seconds=2), cap=timedelta(seconds=40))
    )
    clock = Clock()
    world = World(clock, random, policy, CAPACITY)
    for number in range(EVENTS):
        key = f"k{random.randrange(12)}" if ordering == "key" else ""
        clock.after(random.uniform(0, 600), lambda key=key: world.publish(key))
        if number % 40 == 0:
            clock.after(random.uniform(0, 900), world.crash)

    def weather() -> None:
        world.failing, world.rejecting = random.choice([(0.0, 0.0), (0.3, 0.05), (0.7, 0.0), (0.95, 0.05)])

    for minute in range(15):
        clock.after(minute * 60, weather)

    def heal() -> None:
        world.failing = world.rejecting = 0.0

    clock.after(900, heal)
    clock.run(3600)
    return world


@pytest.mark.parametrize("ordering", ["key", "none"])
@pytest.mark.parametrize("seed", SEEDS)
def test_retries(seed: int, ordering: Ordering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose, "PINNED", 24)
    print(f"SIM_SEED={seed}")
    world = run(seed, ordering)

    assert world.finished == set(range(EVENTS)), "lost"
    assert world.broker.floor == len(world.broker.events)
    assert not len(world.window)
    assert world.most_held <= CAPACITY + (loose.AT_ONCE if ordering == "none" else 0)
    assert max(world.charged.values(), default=0) < 6
    if ordering == "key":
        assert world.moved == 0


def test_the_same_seed_is_the_same_run() -> None:
    first, second = run(1, "key"), run(1, "key")

    assert first.clock.trace == second.clock.trace
    assert first.clock.trace != run(2, "key").clock.trace


def test_events_without_order_are_moved_in_some_of_these_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose, "PINNED", 24)

    assert sum(run(seed, "none").moved for seed in range(3)) > 0
