"""What programs of ended replicas have left running: found by the name of their replica in the environment.

A zygote ends them with their program. Only where the zygote itself was killed they are left to its parent.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def end(replicas: Collection[str]) -> int:
    """Kill every process that *replicas*, none of which runs any more, have left; answers how many there were."""
    marks = {f"POD_NAME={name}".encode() for name in replicas}
    ended = 0
    for entry in Path("/proc").iterdir() if marks else ():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # gone, or somebody else's
            if marks & set((entry / "environ").read_bytes().split(b"\0")):
                os.kill(int(entry.name), signal.SIGKILL)
                ended += 1
    if ended:
        log.info("ended %d processes that replicas had left behind", ended)
    return ended
