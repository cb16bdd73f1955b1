"""Sources and buses of every kind while chance breaks them: one seed each here, any number with ``make soak``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.arena import World, worlds
from tests.faults.campaign import play
from tests.faults.schedule import draw
from tests.faults.trials import SEED, arena

pytestmark = pytest.mark.platform
WORLDS = ("http:embedded", "nats:nats", "kafka:kafka", "mosquitto:mqtt")
"""Source and bus; each source and each bus once."""
PERIODS = 4
EVENTS = 300


@pytest.mark.parametrize("world", worlds(WORLDS), ids=str)
def test_nothing_is_lost_whatever_breaks(world: World, tmp_path: Path) -> None:
    seed = int(os.environ.get("FAULT_SEED", SEED))
    with arena(tmp_path, world, proxies=1, replicas=(1, 4), seed=seed) as it:
        schedule = draw(seed, it.kinds(), PERIODS, longest=2.0)
        schedule.save(tmp_path / "schedule.json")
        outcome = play(it, schedule, events=EVENTS)

    print(f"FAULT_SEED={seed} {outcome}")
    assert outcome.clean, outcome
