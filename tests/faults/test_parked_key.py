"""One key of a Kafka partition fails on and on: the others pass it, and a crash does not bring them all back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from proxy.commits import EVENTS
from tests.faults.arena import World
from tests.faults.producers import message, messages
from tests.faults.trials import CREDIT, all_parked, arena
from tests.platform import until

pytestmark = pytest.mark.platform
SOUND = 4000


def test_a_parked_key_pins_nothing_but_itself(tmp_path: Path) -> None:
    """The floor stands at the failing event; what was done above it is in the commit's metadata."""
    with arena(tmp_path, World(bus="kafka", source="kafka"), replicas=(1, 1), retry=1000) as it:
        stuck = message(0, "stuck", fails=1000)
        it.producer.publish([stuck])
        until(it.ledger.starts, what="the first attempt")
        it.producer.publish(messages(range(1, SOUND + 1), keys=64))
        until(lambda: it.ledger.missing() == 1, what="every other key handled")
        all_parked(it, 1)
        before = Counter(id_ for id_, _ in it.ledger.starts())
        it.platform.kill("plane")
        until(lambda: Counter(id_ for id_, _ in it.ledger.starts())[stuck.id] > before[stuck.id] + 1, what="tried on")
        all_parked(it, 1)
        after = it.ledger.starts()

    again = Counter(id_ for id_, _ in after)
    twice = sum(count - 1 for id_, count in again.items() if id_ != stuck.id)
    print(f"{twice} of {SOUND} events came again")
    assert max(before[id_] for id_ in before if id_ != stuck.id) == 1, "nothing twice before the crash"
    assert twice <= CREDIT + EVENTS
    attempts = [attempt for id_, attempt in after if id_ == stuck.id]
    assert attempts == sorted(attempts), "its attempts were counted on"
