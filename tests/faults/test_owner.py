"""Two proxies, and the one that owns the work stands still: the other takes over, and the first does nothing late."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.faults.arena import Arena, World
from tests.faults.campaign import drain
from tests.faults.producers import messages
from tests.faults.trials import arena
from tests.platform import processes, until

pytestmark = pytest.mark.platform


def pid_of(it: Arena, name: str) -> int:
    """Pid of the plane *name*; 0: it does not run."""
    found = [pid for pid, _, words in processes() if str(it.platform.run) in words and f"--name {name}" in words]
    return int(found[0]) if found else 0


def test_a_frozen_owner_is_replaced_and_fenced(tmp_path: Path) -> None:
    """Each proxy in turn, so that whichever owns the work is one of them; events reach the broker without a proxy."""
    with arena(tmp_path, World(bus="nats", source="nats"), proxies=1, replicas=(1, 2)) as it:
        for number, name in enumerate(("plane-0", "plane-1")):
            first = 200 * number
            it.producer.publish(messages(range(first, first + 100), work=0.01))
            frozen = pid_of(it, name)
            os.kill(frozen, signal.SIGSTOP)
            try:
                it.producer.publish(messages(range(first + 100, first + 200), work=0.01))
                until(lambda: it.ledger.missing() == 0, what=f"the other proxy took over from {name}")
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(frozen, signal.SIGCONT)
        it.producer.publish(messages(range(400, 500), work=0.01))
        drain(it)
        verdict = it.ledger.verdict()
        logs = "".join(log.read_text() for log in (it.platform.state / "logs").glob("plane-*.log"))

    assert verdict.clean, verdict
    assert "is lost: another owner took over" in logs
