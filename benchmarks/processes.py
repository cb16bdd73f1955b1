"""What another process costs, and when it is there."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from benchmarks.delivery import cpu
from tests.servers import listens

WITHIN = 120.0


class Usage:
    """Of one process, from now on."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._before = cpu(pid)

    def seconds(self) -> float:
        """Of processor time."""
        return cpu(self.pid) - self._before

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def proportional(self) -> int:
        """Bytes of memory, those it shares divided by those who share them."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once *process* listens at *port*."""
    end = time.monotonic() + WITHIN
    while not listens(port):
        if process.poll() is not None:
            raise SystemExit(f"it ended with {process.returncode}")
        if time.monotonic() > end:
            raise SystemExit("it does not listen")
        time.sleep(0.05)
