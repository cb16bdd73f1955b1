"""Who listens where on the loopback, as the kernel tells it (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

LOOPBACKS = ("127.0.0.1", "::1")
"""A program that listens at ``localhost`` may mean either."""
_LISTEN = "0A"
_PATIENCE = 1.0


async def find(port: int) -> str:
    """``host:port`` on the loopback where somebody accepts connections; empty: nobody does."""
    for host in LOOPBACKS:
        with suppress(OSError):  # TimeoutError is one
            if await _accepts(host, port):
                return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""


def ports_of(pids: Iterable[int]) -> list[int]:
    """TCP ports that these processes listen at."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    return sorted({port for port, inode in _listening() if inode in inodes})


def processes(session: int) -> Iterator[int]:
    """All that run in *session*."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            if os.getsid(int(entry.name)) == session:
                yield int(entry.name)


async def _accepts(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setblocking(False)
        async with asyncio.timeout(_PATIENCE):
            await asyncio.get_running_loop().sock_connect(probe, (host, port))
        return bool(probe.getsockname() != probe.getpeername())  # a socket can connect to itself while the port is free


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


def _listening() -> Iterator[tuple[int, str]]:
    """(port, inode) of every listener of this machine."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield int(fields[1].rpartition(":")[2], 16), fields[9]
