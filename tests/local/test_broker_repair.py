"""The embedded broker is started anew when its disk has room again, and no other broker is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from api.frames import BusReading, Readings
from api.meta import Key
from controller.agents import Agent
from controller.local.broker_repair import ROOM, Repair, due
from controller.local.paths import Paths

STORE = Path("/state/nats")
BUS = Key("default", "default")


def reading(reason: str, store: Path = STORE) -> BusReading:
    message = f"the broker cannot write topic t: write {store}/jetstream/msgs/5.blk: no space left on device"
    return BusReading(bus=BUS, reason=reason, message=message)


@pytest.mark.parametrize(
    ("readings", "free", "expected"),
    [
        ([reading("StorageFailed")], ROOM, True),
        ([BusReading(bus=BUS, connected=True), reading("StorageFailed")], ROOM, True),
        ([reading("StorageFailed")], ROOM - 1, False),
        ([reading("Unreachable")], ROOM, False),
        ([reading("StorageFailed", Path("/state/nats2"))], ROOM, False),
        ([], ROOM, False),
    ],
)
def test_when_it_is_due(readings: list[BusReading], free: int, expected: bool) -> None:
    assert due(readings, STORE, free) == expected


class Proxy:
    role = "proxy"

    def __init__(self, bus: BusReading) -> None:
        self.readings: Readings | None = Readings(boot_id="b", seq=1, buses=(bus,))


def test_the_supervisors_broker_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(ROOM, 0, ROOM))  # type: ignore[attr-defined]  # the result's type has no public name
    paths = Paths(tmp_path, tmp_path)
    agents: Mapping[str, Agent] = {"plane-0": Proxy(reading("StorageFailed", tmp_path / "nats"))}
    repair = Repair(paths, lambda: agents)
    assert not repair.look()

    with subprocess.Popen(["sleep", "60"]) as broker:
        (tmp_path / "children.json").write_text(json.dumps({"nats": {"pid": broker.pid, "problem": ""}}))
        assert repair.look()
        assert broker.wait(10) == -15
