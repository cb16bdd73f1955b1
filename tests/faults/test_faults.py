"""One kind of fault at a time, three strikes each, on a real platform with real MQTT: nothing is lost."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.faults.arena import PROCESSES, Arena
from tests.faults.campaign import play
from tests.faults.producers import message
from tests.faults.trials import arena, struck
from tests.platform import until

pytestmark = pytest.mark.platform
EVENTS = 450


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One platform for all faults that it survives."""
    with arena(tmp_path_factory.mktemp("shared"), replicas=(1, 4)) as it:
        yield it


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_fault_loses_nothing(shared: Arena, kind: str) -> None:
    """Sent on top of what was sent before, and judged with it."""
    outcome = play(shared, struck(kind), events=EVENTS, first=len(shared.ledger.sent.intended))

    print(outcome)
    assert outcome.clean, outcome


def test_a_call_answered_202_runs_although_the_gateway_is_killed(shared: Arena) -> None:
    url = f"http://{shared.platform.platform()['http']}/async-function/default/ledger"
    for number in range(20):
        call = message(number, f"call-{number}", name="call")
        shared.ledger.intend(call.receipt)
        request = urllib.request.Request(url, call.payload, {"content-type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 202
        shared.ledger.ack(call.id)
    shared.platform.kill("plane")
    until(lambda: shared.ledger.missing() == 0, what="every call made")

    assert shared.ledger.verdict().clean
