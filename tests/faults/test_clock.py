"""The wall clock of proxies and gateway jumps, by libfaketime; monotonic time and the broker's clock do not.

libfaketime breaks `time.sleep` of Python 3.11, which the other processes use: the folder ``broken`` loads it into the
planes alone, as they start.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.arena import World
from tests.faults.campaign import drain
from tests.faults.producers import message, messages
from tests.faults.trials import arena

pytestmark = pytest.mark.platform
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
JUMPS = ("+1h", "+30d", "-1h", "-30d", "+0")


def test_jumps_of_the_clock_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if LIBRARY is None:
        how = "needs libfaketime: apt-get install faketime"
        pytest.fail(how) if os.environ.get("CI") == "true" else pytest.skip(how)
    offset = tmp_path / "offset"
    offset.write_text("+0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "broken"))
    monkeypatch.setenv("FAKETIME_LIBRARY", str(LIBRARY))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    with arena(tmp_path, World(bus="embedded", source="http"), replicas=(1, 2)) as it:
        first = 0
        for jump in JUMPS:
            it.producer.publish([*messages(range(first, first + 60)), message(first + 60, "retried", fails=2)])
            offset.write_text(jump)
            it.producer.publish(messages(range(first + 61, first + 120)))
            passed = drain(it)
            first += 120
            assert passed < 30, f"after {jump} it took {passed:.0f} s"
        verdict = it.ledger.verdict()

    assert verdict.clean, verdict
