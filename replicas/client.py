"""An agent's end of the control stream: connects for ever, hands frames to its handler, remembers them on disk."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Literal, Protocol

from api.frames import Assign, Close, Config, Down, Endpoints, Frame, Hello, Listen, Reopen
from api.meta import RevisionKey
from replicas import wire
from replicas.cache import Cache
from replicas.errors import BadFrame

log = logging.getLogger(__name__)

RETRY = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds before each new attempt to connect; the last one repeats."""
SAVE_DELAY = 0.2
"""Seconds in which changes of endpoints are gathered before they are written."""


class ControlHandler(Protocol):
    """What an agent does with frames; called on the event loop, must not block.

    Frames come in the order the controller sent them, and never one of an older controller than the newest heard.
    """

    def on_config(self, config: Config) -> None: ...
    def on_assign(self, assign: Assign) -> None: ...
    def on_listen(self, listen: Listen) -> None: ...
    def on_endpoints(self, endpoints: Endpoints) -> None: ...
    def on_close(self, close: Close) -> None: ...
    def on_reopen(self, reopen: Reopen) -> None: ...
    def on_connected(self) -> None:
        """Hello was sent: send a full Readings, and every Want that holds."""

    def on_disconnected(self) -> None: ...


class ControlClient:
    """One agent's connection; *boot_id* is new at every process start, *cache_dir* belongs to this agent alone."""

    def __init__(
        self,
        path: Path,
        role: Literal["proxy", "gateway"],
        agent: str,
        boot_id: str,
        handler: ControlHandler,
        cache_dir: Path,
    ) -> None:
        self._path = path
        self._hello = Hello(role=role, agent=agent, boot_id=boot_id)
        self._handler = handler
        self._cache = Cache(cache_dir)
        self._gate = wire.EpochGate()
        self._have: dict[str, str] = {}
        self._endpoints: dict[RevisionKey, Endpoints] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._saving: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def send(self, frame: Frame) -> bool:
        """Send now or, when not connected, drop: what matters is sent again from on_connected()."""
        if self._writer is None:
            return False
        self._writer.write(wire.encode(frame))
        return True

    async def run(self) -> None:
        """Stay connected until cancelled. Without a controller at the start, act on what the cache remembers."""
        failures, started = 0, False
        try:
            while True:
                opened = await self._open()
                if opened is None and not started:
                    self._remember()
                started = True
                if opened is None:
                    await asyncio.sleep(RETRY[min(failures, len(RETRY) - 1)])
                    failures += 1
                    continue
                failures = 0
                await self._session(*opened)
                await asyncio.sleep(RETRY[0])
        finally:
            self._save()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return None
        if wire.same_user(writer.get_extra_info("socket")):
            return reader, writer
        writer.transport.abort()
        return None

    def _remember(self) -> None:
        for config in self._cache.configs():
            self._take(config)
        for endpoints in self._cache.endpoints():
            self._take(endpoints)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            hello = self._hello
            self.send(Hello(role=hello.role, agent=hello.agent, boot_id=hello.boot_id, have=dict(self._have)))
            self._handler.on_connected()
            while (body := await wire.read(reader)) is not None:
                frame = wire.decode_down(body)
                if frame is not None:
                    self._take(frame)
        except BadFrame as error:
            log.warning("control stream of %s starts again: %s", self._hello.agent, error)
        finally:
            self._writer = None
            writer.transport.abort()
            self._handler.on_disconnected()

    def _take(self, frame: Down) -> None:
        if not self._gate.admit(frame):
            log.warning("frame of epoch %d dropped, %d was seen", frame.epoch, self._gate.epoch)
            return
        match frame:
            case Config():
                self._keep(frame)
                self._handler.on_config(frame)
            case Assign():
                self._handler.on_assign(frame)
            case Listen():
                self._handler.on_listen(frame)
            case Endpoints():
                self._endpoints[frame.revision] = frame
                self._save_soon()
                self._handler.on_endpoints(frame)
            case Close():
                self._handler.on_close(frame)
            case Reopen():
                self._handler.on_reopen(frame)

    def _keep(self, config: Config) -> None:
        self._have[config.snapshot.namespace] = config.snapshot.digest
        if self.connected:
            self._cache.keep_config(config)

    def _save_soon(self) -> None:
        if self._saving is None and self.connected:
            self._saving = asyncio.get_running_loop().call_later(SAVE_DELAY, self._save)

    def _save(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
            self._endpoints = {key: known for key, known in self._endpoints.items() if known.endpoints}
            self._cache.keep_endpoints(self._endpoints.values())
