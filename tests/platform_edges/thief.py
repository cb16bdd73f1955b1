"""A supervisor beside which somebody takes a port between the preparation and the start: ``thief.py NAME STATE ...``.

The thief waits inside the supervisor's own process, so that it never loses the race.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from api import platform as facts
from cli import supervise

name, state = sys.argv[1], Path(sys.argv[2])
thief = socket.socket()
thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections of the last platform are no obstacle
prepare = subprocess.run


def prepare_and_steal(*words: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    prepared = prepare(*words, **options)
    chosen = facts.load(state)
    if chosen is not None and thief.getsockname()[1] == 0:
        host, _, port = getattr(chosen, name).rpartition(":")
        thief.bind((host, int(port)))
        thief.listen()
        (state / "stolen").write_text(f"{host}:{port}")
    return prepared


subprocess.run = prepare_and_steal  # type: ignore[assignment]  # the one seam between choosing a port and using it
sys.argv[1:] = ["--state", str(state), "--no-watch"]
sys.exit(supervise.main())
