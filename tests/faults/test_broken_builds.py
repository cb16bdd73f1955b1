"""The checker proves itself: a sound build passes every trial, each broken build fails one, with the finding named.

The seventh broken build, one that skips fsync, cannot be seen by killing processes: the page cache outlives them. That
proof is tests/eventbus/test_durability.py, which reads the broker's system calls and fails in ``os`` mode.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import trials
from tests.faults.trials import TRIALS

pytestmark = pytest.mark.platform

BROKEN = {
    "ack early": ("replicas killed", "lost"),
    "auto-commit": ("proxy killed", "lost"),
    "skip drain": ("scaled in", "duplicates over budget"),
    "drop on 500": ("handler fails", "lost"),
    "discard old": ("bus full", "lost"),
    "forget parked retries": ("parked, then the proxy killed", "lost"),
}


@pytest.mark.parametrize("trial", TRIALS)
def test_a_sound_build_passes(trial: str, tmp_path: Path) -> None:
    verdict = TRIALS[trial](tmp_path)

    assert verdict.clean, verdict


@pytest.mark.parametrize("build", BROKEN)
def test_a_broken_build_is_found(build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, finding = BROKEN[build]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "broken"))
    monkeypatch.setenv("BROKEN_BUILD", build)
    monkeypatch.setattr("tests.faults.campaign.DRAIN", 5.0)

    verdict = TRIALS[trial](tmp_path)

    print(verdict)
    assert finding in verdict.findings, verdict


def test_the_seventh_has_its_proof_elsewhere() -> None:
    proof = Path(trials.__file__).parent.parent / "eventbus" / "test_durability.py"

    assert "def test_without_sync_the_same_check_fails" in proof.read_text()
