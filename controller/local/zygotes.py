"""Connections to zygotes: the base one, which the supervisor keeps alive, and one per other environment.

A zygote is the parent of its replicas: they end with it. The zygote of another environment is a child of the base
zygote, started when a function first needs it. Protocol: functions_framework/zygote_wire.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from api.errors import Unavailable
from controller.local.environments import Environment
from controller.local.paths import Paths
from functions_framework import zygote_wire as wire

log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(wire.Reply)
_RETRY = 0.02
_RETRY_CAP = 0.5
_PATIENCE = 15.0
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""All that a zygote inherits of our environment: nothing secret may stand in its memory."""


class Watcher(Protocol):
    """Who hears of the children of all zygotes."""

    def exited(self, exited: wire.Exited) -> None:
        """A child ended."""
        ...

    def connected(self, zygote: Zygote, children: Mapping[str, int]) -> None:
        """A connection stands; *children* are all that live, by id."""
        ...


class Zygote:
    """One connection, made anew for ever; requests wait for it no longer than their own patience."""

    def __init__(self, name: str, path: Path, watcher: Watcher) -> None:
        self.name = name
        self._path, self._watcher = path, watcher
        self._socket: socket.socket | None = None
        self._ready = asyncio.Event()
        self._sending = asyncio.Lock()
        self._pending: dict[str, asyncio.Future[wire.Started]] = {}

    async def run(self) -> None:
        """Connect and listen until cancelled."""
        wait = _RETRY
        while True:
            try:
                await self._connect()
                wait = _RETRY
                await self._listen()
            except OSError as error:
                log.debug("zygote %s: %s", self.name, error)
            finally:
                self._disconnect()
            await asyncio.sleep(wait)
            wait = min(wait * 2, _RETRY_CAP)

    @property
    def connected(self) -> bool:
        """Whether it answers now."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Wait for a connection; Unavailable when it takes too long."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ready.wait()
        except TimeoutError:
            raise Unavailable(f"zygote {self.name} does not answer", hint=f"see {self.name}.log") from None

    async def start(self, request: wire.Fork | wire.Spawn, descriptors: Sequence[int]) -> wire.Started:
        """Fork or spawn; Unavailable when the zygote refuses or dies meanwhile."""
        await self.ready()
        future: asyncio.Future[wire.Started] = asyncio.get_running_loop().create_future()
        self._pending[request.id] = future
        try:
            await self._send(request, descriptors)
            return await future
        except OSError as error:
            raise Unavailable(f"zygote {self.name} is gone ({error})") from error
        finally:
            self._pending.pop(request.id, None)

    async def signal(self, child: str, number: int) -> None:
        """Send a signal to a child; one that is gone already is no error."""
        with contextlib.suppress(OSError):
            await self._send(wire.Signal(id=child, number=number), ())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(self._path))
        except BaseException:
            connection.close()
            raise
        self._socket = connection
        await self._send(wire.Children(), ())

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        held = b""
        while self._socket is not None:
            data = await loop.sock_recv(self._socket, 1 << 16)
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                self._take(_decoder.decode(line))

    def _take(self, reply: wire.Reply) -> None:
        match reply:
            case wire.Alive(children=children):
                self._ready.set()
                self._watcher.connected(self, children)
            case wire.Exited():
                self._watcher.exited(reply)
            case wire.Started(id=name) | wire.Failed(id=name):
                future = self._pending.get(name)
                if future is None or future.done():
                    return
                if isinstance(reply, wire.Started):
                    future.set_result(reply)
                else:
                    future.set_exception(Unavailable(f"zygote {self.name} cannot start {name}: {reply.error}"))

    async def _send(self, request: wire.Request, descriptors: Sequence[int]) -> None:
        line = _encoder.encode(request) + b"\n"
        async with self._sending:
            connection = self._socket
            if connection is None:
                raise ConnectionError("not connected")
            sent = socket.send_fds(connection, [line], list(descriptors)) if descriptors else 0
            if sent < len(line):
                await asyncio.get_running_loop().sock_sendall(connection, line[sent:])

    def _disconnect(self) -> None:
        self._ready.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Unavailable(f"zygote {self.name} ended"))


class Zygotes:
    """The zygote of every environment in use; *watcher* hears of all children."""

    def __init__(self, paths: Paths, base: str, watcher: Watcher) -> None:
        """*base* is the digest of the environment that the supervisor's zygote runs in."""
        self._paths, self._base_digest, self._watcher = paths, base, watcher
        self.base = Zygote("zygote", paths.socket("zygote"), self)
        self._others: dict[str, Zygote] = {}
        self._spawned: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._spawning = asyncio.Lock()

    def start(self) -> None:
        """Connect to the base zygote and stay connected."""
        self._tasks["zygote"] = asyncio.create_task(self.base.run())

    async def stop(self) -> None:
        """Drop the connections; what runs goes on running."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def at(self, environment: Environment) -> Zygote:
        """The connected zygote of *environment*, spawned now if need be."""
        if environment.digest == self._base_digest:
            await self.base.ready()
            return self.base
        name = _name(environment.digest)
        async with self._spawning:
            await self.base.ready()
            if name not in self._spawned:
                await self._spawn(name, environment)
        zygote = self._connection(name)
        await zygote.ready()
        return zygote

    async def any(self) -> Zygote:
        """A connected zygote for a program, which brings its own environment."""
        await self.base.ready()
        return self.base

    async def found(self) -> None:
        """Wait until the base zygote and those below it have told their children; Unavailable if one does not."""
        await self.base.ready()
        await asyncio.gather(*(zygote.ready() for zygote in self._others.values()))

    async def retire(self, digests: frozenset[str]) -> None:
        """Stop zygotes of environments other than *digests*."""
        kept = {_name(digest) for digest in digests}
        for name in self._spawned - kept:
            await self.base.signal(name, 15)
            self._forget(name)

    def exited(self, exited: wire.Exited) -> None:
        """Hear of a child of any zygote."""
        if exited.id in self._spawned:
            log.warning("zygote %s ended with code %d", exited.id, exited.code)
            self._forget(exited.id)
            return
        self._watcher.exited(exited)

    def connected(self, zygote: Zygote, children: Mapping[str, int]) -> None:
        """Hear that a zygote answers; zygotes below the base one are found again."""
        if zygote is self.base:
            below = {name for name in children if name.startswith("z-")}
            for name in self._spawned - below:
                self._forget(name)
            self._spawned |= below
            for name in below:
                self._connection(name)
        self._watcher.connected(zygote, {name: pid for name, pid in children.items() if not name.startswith("z-")})

    def _connection(self, name: str) -> Zygote:
        if name not in self._others:
            self._others[name] = Zygote(name, self._paths.socket(name), self)
            self._tasks[name] = asyncio.create_task(self._others[name].run())
        return self._others[name]

    def _forget(self, name: str) -> None:
        self._spawned.discard(name)
        zygote, task = self._others.pop(name, None), self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        if zygote is not None:
            self._watcher.connected(zygote, {})  # its children ended with it

    async def _spawn(self, name: str, environment: Environment) -> None:
        path = self._paths.socket(name)
        path.unlink(missing_ok=True)
        argv = [str(environment.python), "-P", "-m", "functions_framework.zygote", "--socket", str(path)]
        handle = os.open(self._paths.log("zygote"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            await self.base.start(wire.Spawn(id=name, argv=argv, env=inherited()), [handle])
        finally:
            os.close(handle)
        self._spawned.add(name)


def inherited() -> dict[str, str]:
    """The part of our environment that functions and zygotes get."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _name(digest: str) -> str:
    return f"z-{digest.removeprefix('sha256:')[:12]}"
