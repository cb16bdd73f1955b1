"""The controller's end of the control stream: who is connected, what they read, and what they were told.

It keeps the full state that agents act on and sends it to whoever connects. It decides nothing: what to publish, assign
and close comes from the controller. Order at start: ``endpoints()`` of the replicas that already run, then
``publish()``: a revision that a snapshot names and nobody reported is told to agents as having no endpoint, which
clears what their caches remember.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from api.frames import (
    AppListener,
    Assign,
    Close,
    Closed,
    Config,
    Down,
    Endpoint,
    Hello,
    Listen,
    Notice,
    Readings,
    Refused,
    Reopen,
    Up,
    Want,
)
from api.meta import Key, RevisionKey
from api.model import Snapshot
from replicas import wire
from replicas.board import Board, Closing
from replicas.errors import BadFrame

log = logging.getLogger(__name__)

HELLO_TIMEOUT = 5.0
SILENCE = 10.0
"""Seconds without a frame after which an agent is cut off: it reports every second, so it hangs, and what it owns goes
to another."""
DEPARTED = 15.0
"""Seconds for which an agent that went away still counts in close(): it may go on with what it last knew."""
BACKLOG_BYTES = 64 << 20
"""An agent that lets more than this wait is cut off; it gets the full state when it comes back."""


class AgentState:
    """What one connected agent said last."""

    def __init__(self, hello: Hello) -> None:
        self.name = hello.agent
        self.role = hello.role
        self.boot_id = hello.boot_id
        self.have: Mapping[str, str] = hello.have
        self.readings: Readings | None = None
        self.received = 0.0
        """time.monotonic() of the last Readings."""
        self.wants: Mapping[RevisionKey, Want] = {}
        """Wants that were repeated with the last Readings or came after it."""
        self._repeated: dict[RevisionKey, Want] = {}

    def want(self, want: Want) -> None:
        self._repeated[want.revision] = want
        self.wants = {**self.wants, want.revision: want}

    def read(self, readings: Readings, now: float) -> None:
        """Take *readings*; one of an older sequence of the same boot is dropped."""
        if self.readings and self.readings.boot_id == readings.boot_id and readings.seq < self.readings.seq:
            return
        self.readings, self.received = readings, now
        self.wants, self._repeated = self._repeated, {}


class _Link:
    def __init__(self, state: AgentState, writer: asyncio.StreamWriter) -> None:
        self.state = state
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)
        if self.writer.transport.get_write_buffer_size() > BACKLOG_BYTES:
            self.writer.transport.abort()


class ControlServer:
    """Unix socket server of evoke.v1; every method runs on the event loop.

    *on_change* is called after an agent came, went, or sent Readings or a Want; *on_notice* with each Notice.
    """

    def __init__(
        self, path: Path, epoch: int, on_change: Callable[[], None], on_notice: Callable[[Notice], None]
    ) -> None:
        self._path = path
        self._epoch = epoch
        self._on_change = on_change
        self._on_notice = on_notice
        self._links: dict[str, _Link] = {}
        self._departed: dict[str, float] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._assigned: dict[str, Assign] = {}
        self._listening: dict[str, Listen] = {}
        self._boards: dict[RevisionKey, Board] = {}
        self._closings: dict[tuple[RevisionKey, int], Closing] = {}
        self._server: asyncio.Server | None = None

    @property
    def agents(self) -> Mapping[str, AgentState]:
        """Connected agents by name."""
        return MappingProxyType({name: link.state for name, link in self._links.items()})

    async def start(self) -> None:
        """Listen, mode 0600; a socket file that an earlier process left is replaced."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self._links.values()):
            link.writer.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    def publish(self, snapshot: Snapshot) -> None:
        """Make *snapshot* what every agent acts on in its namespace."""
        self._snapshots[snapshot.namespace] = snapshot
        self._broadcast(Config(epoch=self._epoch, snapshot=snapshot))
        named = {revision for known in self._snapshots.values() for revision in _revisions(known)}
        for revision in named - self._boards.keys():
            self._tell(revision, self._board(revision))

    def assign(self, agent: str, subscriptions: Iterable[Key], sources: Iterable[Key]) -> None:
        """Make these, and nothing else, what *agent* owns; it need not be connected yet."""
        assign = Assign(epoch=self._epoch, subscriptions=tuple(subscriptions), sources=tuple(sources))
        if self._assigned.get(agent) == assign:
            return
        self._assigned[agent] = assign
        if link := self._links.get(agent):
            link.send(wire.encode(assign))

    def listen(self, agent: str, apps: Iterable[AppListener]) -> None:
        """Make these the apps that *agent* serves at addresses of their own; it need not be connected yet."""
        listen = Listen(epoch=self._epoch, apps=tuple(apps))
        if self._listening.get(agent) == listen:
            return
        self._listening[agent] = listen
        if link := self._links.get(agent):
            link.send(wire.encode(listen))

    def endpoints(self, revision: RevisionKey, endpoints: Iterable[Endpoint]) -> None:
        """Make these the ready replicas of *revision*; a change bumps its generation. Replicas that are being closed,
        or were, stay out of what agents see."""
        board = self._board(revision)
        board.set(tuple(endpoints))
        self._tell(revision, board)

    def generation(self, revision: RevisionKey) -> int:
        return self._board(revision).generation

    async def close(
        self,
        revision: RevisionKey,
        replicas: Collection[str],
        last: bool,
        timeout: float = 2.0,  # noqa: ASYNC109 - silence is an answer here, not a cancellation
    ) -> bool:
        """Ask every agent to stop using *replicas*; True: all answered Closed and nothing is in flight there.

        One refusal, an agent that leaves, or *timeout* seconds of silence calls it off: agents get Reopen.
        """
        board = self._board(revision)
        board.close(replicas)
        frame = Close(
            epoch=self._epoch, revision=revision, generation=board.generation, replicas=tuple(replicas), last=last
        )
        accepted = not self._missing() and await self._gather(frame, timeout)
        board.settle(replicas, accepted=accepted)
        if not accepted:
            self._broadcast(Reopen(epoch=self._epoch, revision=revision, generation=frame.generation))
        self._tell(revision, board)
        return accepted

    async def _gather(self, frame: Close, timeout: float) -> bool:  # noqa: ASYNC109 - as in close()
        closing = Closing(self._links)
        key = (frame.revision, frame.generation)
        self._closings[key] = closing
        self._broadcast(frame)
        try:
            async with asyncio.timeout(timeout):
                return await closing.answer
        except TimeoutError:
            return False
        finally:
            del self._closings[key]

    def _missing(self) -> bool:
        """Whether an agent is away that may still use what it knew."""
        now = time.monotonic()
        self._departed = {name: at for name, at in self._departed.items() if now - at < DEPARTED}
        return bool(self._departed)

    def _board(self, revision: RevisionKey) -> Board:
        return self._boards.setdefault(revision, Board())

    def _tell(self, revision: RevisionKey, board: Board) -> None:
        if board.changed():
            self._broadcast(board.frame(self._epoch, revision))

    def _broadcast(self, frame: Down) -> None:
        data = wire.encode(frame)
        for link in list(self._links.values()):
            link.send(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link: _Link | None = None
        try:
            if not wire.same_user(writer.get_extra_info("socket")):
                return
            async with asyncio.timeout(HELLO_TIMEOUT):
                body = await wire.read(reader)
            hello = wire.decode_up(body) if body is not None else None
            if not isinstance(hello, Hello):
                return
            link = self._join(hello, writer)
            while (body := await self._next(reader)) is not None:
                frame = wire.decode_up(body)
                if self._links.get(link.state.name) is not link:
                    return
                if frame is not None:
                    self._receive(link.state, frame)
        except (BadFrame, TimeoutError) as error:
            silence = f"nothing heard for {SILENCE:g} s" if link else "no Hello"
            log.warning("agent %s is cut off: %s", link.state.name if link else "unnamed", str(error) or silence)
        except asyncio.CancelledError:
            pass  # the loop is closing; the streams' callback would only log it
        finally:
            if link is not None:
                self._leave(link)
            writer.transport.abort()

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        async with asyncio.timeout(SILENCE):
            return await wire.read(reader)

    def _join(self, hello: Hello, writer: asyncio.StreamWriter) -> _Link:
        link = _Link(AgentState(hello), writer)
        if old := self._links.get(hello.agent):
            old.writer.transport.abort()
        self._links[hello.agent] = link
        self._departed.pop(hello.agent, None)
        for closing in self._closings.values():
            closing.refuse(hello.agent)  # an earlier connection of it was asked, this one never was
        for snapshot in self._snapshots.values():
            link.send(wire.encode(Config(epoch=self._epoch, snapshot=snapshot)))
        for revision, board in self._boards.items():
            link.send(wire.encode(board.frame(self._epoch, revision)))
        if assign := self._assigned.get(hello.agent):
            link.send(wire.encode(assign))
        if listen := self._listening.get(hello.agent):
            link.send(wire.encode(listen))
        self._on_change()
        return link

    def _leave(self, link: _Link) -> None:
        if self._links.get(link.state.name) is not link:
            return
        del self._links[link.state.name]
        self._departed[link.state.name] = time.monotonic()
        for closing in self._closings.values():
            closing.refuse(link.state.name)
        self._on_change()

    def _receive(self, state: AgentState, frame: Up) -> None:
        match frame:
            case Readings():
                state.read(frame, time.monotonic())
                self._on_change()
            case Want():
                state.want(frame)
                self._on_change()
            case Closed() | Refused():
                if closing := self._closings.get((frame.revision, frame.generation)):
                    closing.hear(state.name, frame)
            case Notice():
                self._on_notice(frame)
            case Hello():
                log.warning("agent %s said Hello twice", state.name)


def _revisions(snapshot: Snapshot) -> Iterable[RevisionKey]:
    for route in snapshot.routes:
        yield from (backend.revision for backend in route.backends)
    for subscription in snapshot.subscriptions:
        yield from (backend.revision for backend in subscription.backends)
