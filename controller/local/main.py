"""The controller of one machine: ``python -m controller.local.main --state DIR --run DIR [--proxies N]``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from api import platform
from api.documents import decode_spec
from api.frames import Notice
from api.meta import Key
from controller.local import sqlite
from controller.local.announcements import Announcements
from controller.local.app_ports import AppPorts
from controller.local.broker_repair import Repair
from controller.local.feed import Feed
from controller.local.functions import Functions
from controller.local.letters import Letters
from controller.local.paths import Paths
from controller.local.resources import Resources
from controller.local.revisions import Revisions
from controller.local.service import Parts, Service
from controller.local.substrate import CAPABILITIES, LocalSubstrate
from controller.loop import Loop
from replicas.asgi import Router
from replicas.server import ControlServer

log = logging.getLogger("controller")

GARBAGE_PERIOD = 60.0
"""Seconds between two looks for bundles that no revision uses."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor says."""

    state: Path
    run: Path
    watch: bool = True
    proxies: int = 0
    """Planes that only deliver, beside the first."""


class Controller:
    """All parts of one controller, put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.paths = Paths(settings.state, settings.run)
        here = platform.load(settings.state)
        if here is None:
            raise SystemExit(f"{settings.state} has no platform.json; start with `evoke up`")
        self._db = sqlite.connect(self.paths.database)
        epoch = sqlite.next_epoch(self._db)
        self.feed = Feed()
        self.control = ControlServer(self.paths.socket("control"), epoch, self._agents_changed, self._noticed)
        self.store = sqlite.SqliteStore(self._db, _decode)
        revisions = Revisions(self._db)
        ports = AppPorts(self._db, seed=str(self.paths.state))
        self.substrate = LocalSubstrate(self.paths, here, revisions, self.control, self.feed, ports)
        told = Announcements(self.feed).tell
        proxies = [f"proxy-{number}" for number in range(settings.proxies + 1)]
        self.loop = Loop(
            self.store, self.substrate, self.control, proxies=proxies, tell=told, settle=self.substrate.settle
        )
        self._letters = Letters(self.paths.socket("plane-0"))
        self._functions = Functions(revisions, self.substrate, self.control, self.loop, self._letters)
        self.service = Service(
            Parts(
                paths=self.paths,
                platform=here,
                version=version("evoke-functions"),
                epoch=epoch,
                started=datetime.now(UTC),
                store=self.store,
                resources=Resources(self.store, self.substrate.secrets, CAPABILITIES),
                revisions=revisions,
                substrate=self.substrate,
                secrets=self.substrate.secrets,
                functions=self._functions,
                control=self.control,
                feed=self.feed,
                wake=self.loop.wake,
            )
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until *stopping*, then let the functions finish."""
        await self.substrate.start()  # replicas that run are known before any agent hears what there is
        await self.control.start()
        repair = Repair(self.paths, lambda: self.control.agents)
        parts = (self.loop.run(), self._serve(), self._collect_garbage(), repair.run())
        tasks = [asyncio.create_task(part) for part in parts]
        if self._settings.watch:
            tasks.append(asyncio.create_task(self.substrate.trees.watch()))
        waiting = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.substrate.stop()
        await self.control.stop()
        await self._letters.aclose()
        self._db.close()
        for task in done - {waiting}:
            task.result()  # a part that ended by itself says why

    async def _serve(self) -> None:

        path = self.paths.socket("controller")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            try:
                await serve_http(self.service.app, listener)
            finally:
                path.unlink(missing_ok=True)

    async def _collect_garbage(self) -> None:
        while True:
            await asyncio.sleep(GARBAGE_PERIOD)
            await self.substrate.collect_garbage()

    def _agents_changed(self) -> None:
        self._functions.rates.sample(self.control.agents, time.monotonic())
        self.loop.agents_changed()

    def _noticed(self, notice: Notice) -> None:
        resource = Key(notice.namespace, notice.function or notice.trigger)
        data = {"eventId": notice.event_id} if notice.event_id else {}
        self.feed.post(resource, notice.kind, notice.message, data=data)


def _decode(api_version: str, kind: str, spec: Mapping[str, Any]) -> Any:
    return decode_spec(api_version, kind, spec)


async def serve_http(app: Router, listener: socket.socket) -> None:
    """Serve *app* on *listener* until cancelled."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are the controller's

    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False
    )
    await Server(config).serve(sockets=[listener])


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await Controller(settings).run(stopping)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="controller")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--proxies", type=int, default=0)
    parser.add_argument("--no-watch", dest="watch", action="store_false")
    settings = Settings(**vars(parser.parse_args()))
    level = os.environ.get("EVOKE_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvloop.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
