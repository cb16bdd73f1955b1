"""The embedded broker after a full disk: it writes again only once it is started anew, and the supervisor starts what
ended. So it is ended here, when there is room again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from api.frames import BusReading
from controller.agents import Agent
from controller.local.paths import Paths

log = logging.getLogger(__name__)

ROOM = 16 << 20
"""Bytes that have to be free before it is worth it."""
EVERY = 2.0
PATIENCE = 30.0
"""Seconds between two restarts, when the first did not help."""


def due(readings: Iterable[BusReading], store: Path, free: int) -> bool:
    """Whether the broker that stores at *store* could not write and would find *free* bytes now.

    Its error names the file, so that no other broker is meant.
    """
    failed = any(one.reason == "StorageFailed" and f"{store}/" in one.message for one in readings)
    return failed and free >= ROOM


class Repair:
    """Looks at what the proxies report of their buses."""

    def __init__(self, paths: Paths, agents: Callable[[], Mapping[str, Agent]]) -> None:
        self._paths, self._agents = paths, agents
        self._store = paths.state / "nats"

    async def run(self) -> None:
        while True:
            wait = PATIENCE if self.look() else EVERY
            await asyncio.sleep(wait)

    def look(self) -> bool:
        """End the broker if that is due; answers whether it was."""
        seen = [agent.readings for agent in self._agents().values() if agent.readings is not None]
        with contextlib.suppress(OSError, KeyError, msgspec.DecodeError):  # the supervisor is just starting it
            free = shutil.disk_usage(self._paths.state).free
            if due((bus for readings in seen for bus in readings.buses), self._store, free):
                children = msgspec.json.decode((self._paths.run / "children.json").read_bytes())
                log.warning("the broker could not write its store, and there is room again: it is started anew")
                os.kill(children["nats"]["pid"], signal.SIGTERM)
                return True
        return False
