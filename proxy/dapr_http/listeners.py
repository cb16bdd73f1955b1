"""The addresses of the HTTP API: shared ones, and those at which whoever connects speaks as one app.

An address of an app costs a socket and nothing else until somebody connects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from api.frames import AppListener
from api.meta import Key
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.app import DaprHttp
from proxy.serving import Listener

log = logging.getLogger(__name__)

REBIND = 1.0
"""Seconds between two tries at an address that is taken."""


class HttpListeners:
    def __init__(self, runtime: Runtime) -> None:
        self._listener = Listener(DaprHttp(runtime))
        self._wanted: dict[Key, str] = {}
        self._servers: dict[Key, tuple[str, asyncio.Server]] = {}
        self._stir = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def on_socket(self, path: Path) -> None:
        """Listen on a Unix socket, where a token says who calls."""
        await self._listener.on_socket(path)

    async def on_address(self, host: str, port: int) -> tuple[str, int]:
        """Listen at a shared address, where a token says who calls; answers the one bound. Raises OSError."""
        server = await self._listener.on_address(host, port)
        bound = server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def assign(self, apps: Sequence[AppListener]) -> None:
        """Listen at exactly these addresses of apps; one that is taken is tried again until it is not."""
        self._wanted = {app.function: app.http for app in apps if app.http}
        self._stir.set()
        if self._task is None and self._wanted:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="addresses of apps")

    async def stop(self) -> None:
        """Take nothing new, let requests in progress end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._listener.stop()

    async def _run(self) -> None:
        while True:
            self._stir.clear()
            refused = await self._follow()
            try:
                async with asyncio.timeout(REBIND if refused else None):
                    await self._stir.wait()
            except TimeoutError:
                pass

    async def _follow(self) -> bool:
        """Make the addresses those that are wanted; answers whether one could not be had."""
        for function, (address, server) in list(self._servers.items()):
            if self._wanted.get(function) != address:
                del self._servers[function]
                self._listener.leave(server)
        refused = False
        for function, address in self._wanted.items():
            if function in self._servers:
                continue
            host, _, port = address.rpartition(":")
            try:
                server = await self._listener.on_address(host.strip("[]"), int(port), {"own": function})
            except OSError as error:
                log.warning("address %s of %s is not served yet: %s", address, function, error)
                refused = True
            else:
                self._servers[function] = (address, server)
        return refused
