"""Listeners of the proxy's APIs: uvicorn's HTTP protocol on our own sockets, without its process and signals."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from replicas.asgi import App

DRAIN = 5.0
"""Seconds for which requests in progress are awaited when a listener ends."""


class Listener:
    def __init__(self, app: App) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
        )
        config.load()
        self._config = config
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def on_socket(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner may use; replaces a stale one."""
        bound = _bind(path)
        self._servers.append(await asyncio.get_running_loop().create_unix_server(self._protocol, sock=bound))

    async def on_address(self, host: str, port: int) -> tuple[str, int]:
        """Listen on TCP; answers the address bound. Raises OSError when it is taken."""
        server = await asyncio.get_running_loop().create_server(self._protocol, host, port)
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Take nothing new, let requests in progress end."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=DRAIN)
        for task in list(self._state.tasks):
            task.cancel()

    def _protocol(self) -> asyncio.Protocol:
        made: Any = self._config.http_protocol_class
        protocol: asyncio.Protocol = made(config=self._config, server_state=self._state, app_state={})
        return protocol


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(0o600)
    return bound
