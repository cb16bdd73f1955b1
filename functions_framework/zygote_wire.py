"""The dialect between a zygote and whoever starts replicas: one JSON object per line over a Unix stream socket.

The starter connects to the zygote's control socket (mode 0600, same uid by SO_PEERCRED) and sends requests; the zygote
answers each and also reports exits, on every connection, as they happen. Descriptors travel by SCM_RIGHTS with the
line that names them, in this order: the listening socket, the log file, the starter's end of nothing else.

Environment values, secrets and FUNC_CONTEXT travel in the Fork request after the zygote was started, so no zygote ever
holds one longer than the fork takes.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """rlimits of a replica; 0 means leave as it is."""

    memory: int = 0
    pids: int = 0
    open_files: int = 0


class Fork(msgspec.Struct, frozen=True, kw_only=True, tag="fork"):
    """Start one replica. Descriptors: [listening socket, log file, status pipe]."""

    id: str
    source: str
    """Directory of the user's code; becomes the working directory."""
    target: str = ""
    env: dict[str, str] = {}
    limits: Limits = Limits()
    concurrency: int = 0
    check: bool = False
    """Load the handler, report, exit: no server."""
    command: list[str] = []
    """Another program to become, looked up in PATH of *env*, with *source* as its folder; empty: a replica in Python.
    Nothing on the status pipe means that it runs. Its signals go to all that it starts, and these end with it."""


class Spawn(msgspec.Struct, frozen=True, kw_only=True, tag="spawn"):
    """Start another program as a child that dies with this zygote: the zygote of another environment.

    Descriptors: [log file].
    """

    id: str
    argv: list[str]
    env: dict[str, str] = {}


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal"):
    id: str
    number: int


class Children(msgspec.Struct, frozen=True, kw_only=True, tag="children"):
    """Ask for every child that lives, and forget the exits reported so far."""


Request: TypeAlias = Fork | Spawn | Signal | Children


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    id: str
    pid: int


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The request could not be carried out."""

    id: str
    error: str


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive"):
    """Answer to Children: id -> pid."""

    children: dict[str, int] = {}


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag="exited"):
    """A child ended; *code* is negative for a signal (-9: SIGKILL)."""

    id: str
    pid: int
    code: int


Reply: TypeAlias = Started | Failed | Alive | Exited


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """A replica's first line on its status pipe, and the body of ``GET /evoke/descriptor``: what it can take."""

    handlers: list[str] = []
    """``on_reading (cloud_event, async)``..."""
    concurrency: int = 1
    batch: int = 0
    """Largest batch; 0: one event per POST."""
    ordered: bool = True
    load_ms: float = 0.0


class LoadFailure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A replica's first line on its status pipe when the user's code cannot be loaded."""

    code: str
    """``E180``: the handler is missing or not callable, the module does not import, the import hangs."""
    message: str
    """One line: cause, expected signature, functions found."""
    file: str = ""
    line: int = 0
    traceback: str = ""


ReplicaStatus: TypeAlias = Descriptor | LoadFailure
