"""One fault at a time, on the real platform with real MQTT: nothing acknowledged is lost, every key keeps its order."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.arena import FAULTS, PROCESSES, Arena, World
from tests.faults.campaign import Outcome, play
from tests.faults.journal import Ledger
from tests.faults.producers import message
from tests.faults.schedule import Schedule, Strike
from tests.platform import until

pytestmark = pytest.mark.platform
SEED = int(os.environ.get("FAULT_SEED", "20261121"))
WORLD = World(bus="embedded", source="mqtt")
EVENTS = 450
CREDIT = 4
"""Of one replica, as the project says."""
STRIKES = (0.2, 0.5, 0.75)


def arena(folder: Path, **options: Any) -> Iterator[Arena]:
    print(f"FAULT_SEED={SEED} {WORLD}")
    with Ledger(folder / "ledger") as ledger, Arena(WORLD, folder, ledger, seed=SEED, **options) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One platform for all faults that it survives."""
    yield from arena(tmp_path_factory.mktemp("shared"), replicas=(1, 4))


@pytest.fixture
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Arena]:
    """A platform with the options that the test's parameter names."""
    yield from arena(tmp_path, **request.param)


def strike(arena: Arena, kind: str | None, *, work: float = 0.002, budget: int | None = None) -> Outcome:
    """Send EVENTS on top of what was sent before, while *kind* strikes three times."""
    strikes = tuple(Strike(kind, at, 1.0) for at in STRIKES) if kind else ()
    first = len(arena.ledger.sent.intended)
    outcome = play(arena, Schedule(SEED, (strikes,)), events=EVENTS, work=work, first=first, budget=budget)
    print(outcome)
    return outcome


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_fault_loses_nothing(shared: Arena, kind: str) -> None:
    outcome = strike(shared, kind)

    assert outcome.clean, outcome


@pytest.mark.parametrize("own", [{"replicas": (1, 2)}], indirect=True)
def test_without_faults_nothing_comes_twice_and_a_killed_replica_repeats_what_it_held(own: Arena) -> None:
    calm = strike(own, None, budget=0)
    killed = strike(own, "replica killed", budget=len(STRIKES) * CREDIT)

    assert calm.clean, calm
    assert killed.clean, killed


@pytest.mark.parametrize("own", [{"failures": 0.05}], indirect=True)
def test_a_function_that_raises_loses_nothing(own: Arena) -> None:
    outcome = strike(own, None, budget=0)

    assert outcome.clean, outcome
    assert max(receipt.attempt for receipt in own.ledger.received()) > 1


@pytest.mark.parametrize("own", [{"replicas": (4, 4)}], indirect=True)
def test_scale_in_with_work_in_flight_loses_nothing(own: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    def squeeze(arena: Arena, _seconds: float) -> None:
        low = 1 if len(arena.platform.replicas("ledger")) > 1 else 4
        arena.platform.evoke("scale", "ledger", "--min", str(low), "--max", str(low))

    monkeypatch.setitem(FAULTS, "squeezed", squeeze)
    outcome = strike(own, "squeezed", work=0.02, budget=0)

    assert outcome.clean, "nothing was killed, so nothing may run twice"


@pytest.mark.parametrize("own", [{}], indirect=True)
def test_a_call_answered_202_runs_although_the_gateway_is_killed(own: Arena) -> None:
    url = f"http://{own.platform.platform()['http']}/async-function/default/ledger"
    for number in range(20):
        call = message(number, f"call-{number}")
        own.ledger.intend(call.receipt)
        request = urllib.request.Request(url, call.payload, {"content-type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 202
        own.ledger.ack(call.id)
    own.platform.kill("plane")
    until(lambda: own.ledger.missing() == 0, what="every call made")

    assert own.ledger.verdict().clean


def test_whichever_proxy_has_the_source_takes_a_publish(shared: Arena) -> None:
    entry = message(0, "z", name="said")
    shared.ledger.intend(entry.receipt)
    for _ in range(2):
        shared.platform.kill("plane", signal.SIGKILL)
        until(shared.platform.planes, what="a plane")
        data = json.dumps(json.loads(entry.payload))
        said = shared.platform.evoke("publish", "ledger/z", "--source", "plant", "-d", data).stdout
        assert said == "published 1 (acknowledged)\n"
