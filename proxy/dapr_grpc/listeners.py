"""The addresses of the gRPC API, and the server behind them that the first client starts.

A listener costs a socket: 200 apps that never use gRPC cost their proxy no megabyte. The first connection imports grpc
and starts a server at a Unix socket in a directory of our own; from then on each connection is relayed there, which
takes about a tenth of a millisecond a call. The server knows by the name of the relay's end of that socket which
address a client came in by.

A server takes messages up to one size, so there is one for each limit that some app has: normally one.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

from api.frames import AppListener
from api.meta import Key
from proxy.dapr_grpc.relay import Side, join

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECTIONS = 512
"""Connections of one address; what comes beyond is closed."""
REBIND = 1.0
"""Seconds between two tries at an address that is taken."""


class Server(Protocol):
    async def stop(self, grace: float) -> None:
        """Take nothing new; calls in progress have *grace* seconds."""


Start = Callable[[int, str], Awaitable[Server]]
"""Message limit in bytes and path of a socket -> the server that listens there."""


class Origin:
    """An address: who speaks there, and who is connected."""

    def __init__(self, own: Key | None) -> None:
        self.own = own
        self.address = ""
        self.listener: asyncio.Server | None = None
        self.sides: set[Side] = set()

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()
        for side in list(self.sides):
            side.close()


class GrpcListeners:
    def __init__(self, start: Start, limit: Callable[[Key | None], int], place: Path | None = None) -> None:
        """*limit*: bytes of a message at the address of an app, or at a shared one (None). *place*: where the directory
        of the server's socket shall stand, whose path is limited to 107 bytes; what a killed process left there goes.
        None: a temporary one."""
        self._start, self._limit, self._place = start, limit, place
        self._shared: list[Origin] = []
        self._own: dict[Key, Origin] = {}
        self._servers: dict[int, asyncio.Task[Server]] = {}
        self._peers: dict[str, Key | None] = {}
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory: Path | None = None

    @property
    def started(self) -> bool:
        """Whether a client has ever come."""
        return bool(self._servers)

    async def on_address(self, host: str, port: int) -> tuple[str, int]:
        """Listen at a shared address; answers the one bound. Raises OSError when it is taken."""
        origin = Origin(None)
        self._shared.append(origin)
        return await self._bind(origin, host, port)

    async def assign(self, apps: Sequence[AppListener]) -> None:
        """Listen at exactly these addresses of apps; one that is taken is tried again until it is not."""
        wanted = {app.function: app.grpc for app in apps if app.grpc}
        for function, origin in list(self._own.items()):
            if wanted.get(function) != origin.address:
                self._own.pop(function).close()
        for function, address in wanted.items():
            if function not in self._own:
                origin = self._own[function] = Origin(function)
                origin.address = address
                if not await self._bound(origin):
                    self._task(self._rebind(origin))

    def own_of(self, peer: str) -> tuple[bool, Key | None]:
        """Whether *peer* (as the server names it) came in by one of our addresses, and whose that is."""
        path = peer.removeprefix("unix:")
        return path in self._peers, self._peers.get(path)

    async def stop(self, grace: float = 5.0) -> None:
        """Take nothing new, let calls in progress end."""
        origins = [*self._shared, *self._own.values()]
        for origin in origins:
            if origin.listener is not None:
                origin.listener.close()
        servers = [task.result() for task in self._servers.values() if task.done() and not task.exception()]
        await asyncio.gather(*(server.stop(grace) for server in servers))
        for origin in origins:
            origin.close()
        pending = [*self._tasks, *(task for task in self._servers.values() if not task.done())]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._shared, self._own, self._servers = [], {}, {}
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _bound(self, origin: Origin) -> bool:
        host, _, port = origin.address.rpartition(":")
        try:
            await self._bind(origin, host.strip("[]"), int(port))
        except OSError as error:
            log.warning("gRPC address %s of %s is not served yet: %s", origin.address, origin.own, error)
            return False
        return True

    async def _rebind(self, origin: Origin) -> None:
        while origin.own is not None and self._own.get(origin.own) is origin:
            await asyncio.sleep(REBIND)
            if await self._bound(origin):
                return

    async def _bind(self, origin: Origin, host: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(partial(_Accepted, self._accepted, origin), host, port)
        if origin.own is not None and self._own.get(origin.own) is not origin:
            listener.close()  # it was given up while it was being bound
        origin.listener = listener
        bound = listener.sockets[0].getsockname() if listener.sockets else (host, port)
        return str(bound[0]), int(bound[1])

    def _accepted(self, side: Side, origin: Origin) -> None:
        if len(origin.sides) >= CONNECTIONS:
            log.warning("%s has %d gRPC connections open, a further one is closed", origin.own, len(origin.sides))
            side.close()
            return
        origin.sides.add(side)
        self._task(self._relay(side, origin))

    async def _relay(self, side: Side, origin: Origin) -> None:
        """Connect *side* with the server; it reads nothing before."""
        name = ""
        try:
            path = await self._server(self._limit(origin.own))
            name = f"{self._directory}/{next(self._numbers)}"
            beyond = Side(partial(self._left, name))
            self._peers[name] = origin.own
            await _connect(beyond, name, path)
        except Exception:
            log.exception("a gRPC connection could not be served")
            self._peers.pop(name, None)
            side.close()
            return
        join(side, beyond)
        if side.transport is None or side.transport.is_closing():
            beyond.close()
        else:
            side.transport.resume_reading()

    def _left(self, name: str) -> None:
        self._peers.pop(name, None)

    async def _server(self, limit: int) -> str:
        """Path of the server for messages of that size; the first caller starts it."""
        if self._directory is None:
            self._directory = _made(self._place)
        path = f"{self._directory}/s{limit}"
        task = self._servers.get(limit)
        if task is None or (task.done() and task.exception()):
            task = self._servers[limit] = asyncio.get_running_loop().create_task(_awaited(self._start(limit, path)))
        await asyncio.shield(task)
        return path

    def _task(self, work: Awaitable[None]) -> None:
        task = asyncio.get_running_loop().create_task(_awaited(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Accepted(Side):
    """The client's end."""

    def __init__(self, accepted: Callable[[Side, Origin], None], origin: Origin) -> None:
        super().__init__(lambda: origin.sides.discard(self))
        self._accepted, self._origin = accepted, origin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._accepted(self, self._origin)


def _made(place: Path | None) -> Path:
    """An empty directory that is only ours."""
    if place is None:
        return Path(tempfile.mkdtemp(prefix="evoke-grpc-"))  # mode 0700
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    return place


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _connect(side: Side, name: str, path: str) -> None:
    """Connect to the socket at *path* from one that is called *name*."""
    loop = asyncio.get_running_loop()
    end = socket.socket(socket.AF_UNIX)
    try:
        end.setblocking(False)
        end.bind(name)
        await loop.sock_connect(end, path)
        Path(name).unlink()  # noqa: ASYNC240 - one entry of our own; as the peer of the connection its name lives on
        await loop.create_unix_connection(lambda: side, sock=end)
    except BaseException:
        end.close()
        raise
