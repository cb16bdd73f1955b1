"""Listeners of the proxy's APIs: uvicorn's HTTP protocol on our own sockets, without its process and signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from replicas.asgi import App

DRAIN = 5.0
"""Seconds for which requests in progress are awaited when a listener ends."""
IDLE = 30
"""Seconds for which a connection may stay without a request, a new one too."""
HEAD_LIMIT = 32 << 10
"""Bytes of path and header lines; what is longer is told to the application as state ``too_long``."""
HEAD_END = 1 << 20
"""Bytes after which a head that does not end is given up."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with a limit to what stands before the body."""

    _head = 0
    """Bytes of the head that are parsed."""
    _open = 0
    """Bytes that came since a head began that does not end."""
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(IDLE, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._open = self._open + len(data) if self._in_head else 0
        if self._open > HEAD_END:  # the parser keeps a line until it ends
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_url(self, url: bytes) -> None:
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._fits(len(name) + len(value)):
            super().on_header(name, value)

    def _fits(self, size: int) -> bool:
        self._head += size
        if self._head <= HEAD_LIMIT:
            return True
        self.scope["state"]["too_long"] = True
        if not self.url:
            self.url = b"/"
        return False


class Listener:
    """One application at any number of addresses."""

    def __init__(self, app: App) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=IDLE,
        )
        config.load()
        self._config = config
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._states: dict[asyncio.Server, dict[str, Any]] = {}

    async def on_socket(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner may use; replaces a stale one."""
        bound = _bind(path)
        made = await asyncio.get_running_loop().create_unix_server(lambda: self._protocol({}), sock=bound)
        self._servers.append(made)

    async def on_address(self, host: str, port: int, state: Mapping[str, Any] | None = None) -> asyncio.Server:
        """Listen on TCP; *state* is in the scope of every request that comes in there. Raises OSError when the address
        is taken. leave() closes it alone."""
        known = dict(state or {})
        server = await asyncio.get_running_loop().create_server(lambda: self._protocol(known), host, port)
        self._servers.append(server)
        self._states[server] = known
        return server

    def leave(self, server: asyncio.Server) -> None:
        """Take nothing new at one address; connections that stand end with their requests."""
        self._servers.remove(server)
        server.close()
        state = self._states.pop(server)
        for connection in list(self._state.connections):
            if connection.app_state is state:
                connection.shutdown()

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

    def _protocol(self, state: dict[str, Any]) -> asyncio.Protocol:
        return Protocol(config=self._config, server_state=self._state, app_state=state)


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(0o600)
    return bound
