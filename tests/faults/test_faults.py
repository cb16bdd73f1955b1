"""One fault each, on the real platform with real MQTT: nothing acknowledged is lost and every key keeps its order."""

from __future__ import annotations

import json
import os
import random
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import Ledger, Receipt, Verdict
from tests.faults.project import Producer, write
from tests.platform import Platform, started, until

pytestmark = pytest.mark.platform
SEED = int(os.environ.get("FAULT_SEED", "20261121"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger")
    yield opened
    opened.close()


def drain(ledger: Ledger, producer: Producer) -> Verdict:
    """Wait until everything sent was acknowledged and everything acknowledged was handled."""
    until(lambda: producer.unacknowledged() == 0, what="every publish acknowledged")
    until(lambda: ledger.missing() == 0, what=f"every event handled; now {ledger.verdict()}")
    return ledger.verdict()


def run_with(
    platform: Platform, ledger: Ledger, fault: Callable[[Platform], object], *, events: int = 600, work: float = 0.002
) -> Verdict:
    """Send *events* over 16 keys; the fault strikes three times on the way, at seeded places."""
    chance = random.Random(SEED)
    strikes = sorted(chance.sample(range(events // 6, events), 3))
    print(f"FAULT_SEED={SEED} strikes before events {strikes}")
    platform.wait_ready("ledger")
    producer = Producer(platform.platform()["mqtt"], ledger)
    try:
        for number in range(events):
            if number in strikes:
                until(lambda: len(ledger.received()) > 0, what="the first event handled")
                fault(platform)
            producer.send(number, f"k{number % 16}", work=work)
        verdict = drain(ledger, producer)
    finally:
        producer.close()
    print(verdict)
    return verdict


def kill_a_replica(platform: Platform) -> None:
    replica = until(lambda: platform.replicas("ledger"), what="a ready replica")[0]
    os.kill(replica["pid"], signal.SIGKILL)
    until(lambda: replica["id"] not in {one["id"] for one in platform.replicas("ledger")}, what="its end noticed")


FAULTS: dict[str, Callable[[Platform], object]] = {
    "replica killed": kill_a_replica,
    "proxy killed": lambda platform: platform.kill("plane"),
    "controller killed": lambda platform: platform.kill("controller"),
    "nats-server killed": lambda platform: platform.kill("nats"),
    "nats-server restarted": lambda platform: platform.kill("nats", signal.SIGTERM),
    "zygote killed": lambda platform: platform.kill("zygote"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_killed_process_loses_nothing(name: str, tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "project", ledger)

    with started(tmp_path / "project") as platform:
        verdict = run_with(platform, ledger, FAULTS[name])

    assert verdict.clean, verdict


def test_proxies_that_share_the_work_take_over_from_each_other(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "project", ledger)

    def kill_the_owner(platform: Platform) -> None:
        """A plane of two, another one each time; which of them owns the subscription does not matter in the end."""
        planes = until(platform.planes, what="a plane runs")
        os.kill(planes[len(strikes) % len(planes)], signal.SIGKILL)
        strikes.append(1)

    strikes: list[int] = []
    with started(tmp_path / "project", "--proxies", "1") as platform:
        verdict = run_with(platform, ledger, kill_the_owner)
        said = platform.evoke(
            "publish", "ledger/z", "--source", "plant", "-d", '{"id": "z", "key": "z", "n": 0}'
        ).stdout

    assert verdict.clean, verdict
    assert said == "published 1 (acknowledged)\n", "whichever proxy has the source"


def test_a_function_that_raises_loses_nothing(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "project", ledger, failures=0.05)

    with started(tmp_path / "project") as platform:
        verdict = run_with(platform, ledger, lambda _: None)

    assert verdict.clean, verdict


def test_scale_in_with_work_in_flight_loses_nothing(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "project", ledger, replicas=(4, 4))

    def squeeze(platform: Platform) -> None:
        ready = len(platform.replicas("ledger"))
        low = 1 if ready > 1 else 4
        platform.evoke("scale", "ledger", "--min", str(low), "--max", str(low))

    with started(tmp_path / "project") as platform:
        verdict = run_with(platform, ledger, squeeze, work=0.02)

    assert verdict.clean, verdict
    assert verdict.duplicates == 0, "nothing was killed, so nothing may run twice"


def test_a_call_answered_202_runs_although_the_gateway_is_killed(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "project", ledger)

    with started(tmp_path / "project") as platform:
        platform.wait_ready("ledger")
        url = f"http://{platform.platform()['http']}/async-function/default/ledger"
        for number in range(20):
            receipt = Receipt(f"call-{number}", f"call-{number}", number)
            ledger.intend(receipt)
            body = json.dumps({"id": receipt.id, "key": receipt.key, "n": number}).encode()
            request = urllib.request.Request(url, body, {"content-type": "application/json"}, method="POST")
            with urllib.request.urlopen(request, timeout=30) as reply:
                assert reply.status == 202
            ledger.ack(receipt.id)
        platform.kill("plane")
        until(lambda: ledger.missing() == 0, what="every call made")

    assert ledger.verdict().clean


def test_everything_killed_at_once_goes_on_where_it_was(tmp_path: Path, ledger: Ledger) -> None:
    project = tmp_path / "project"
    write(project, ledger)

    with started(project) as platform:
        platform.wait_ready("ledger")
        producer = Producer(platform.platform()["mqtt"], ledger)
        for number in range(300):
            producer.send(number, f"k{number % 16}", work=0.02)
        until(lambda: producer.unacknowledged() == 0, what="every publish acknowledged")
        producer.close()
        family = platform.pids()
        platform.kill("supervisor")
        until(
            lambda: not any(Path(f"/proc/{pid}/stat").exists() and _alive(pid) for pid in family.values()),
            what="no orphan",
        )
        platform.up()
        until(lambda: ledger.missing() == 0, what="every event handled")

    assert ledger.verdict().clean


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
