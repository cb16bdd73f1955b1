"""A real redis-server for tests, on free ports, with its data under one directory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from api.platform import LOOPBACK, spare
from tests.servers import Server, listens, missing

PROGRAM = shutil.which("redis-server")
READY_WITHIN = 10.0


class Redis(Server):
    """One server that writes every command to disk; *lines* join its configuration."""

    name = "redis-server"

    def __init__(self, directory: Path, lines: Sequence[str] = (), *, tls: tuple[str, str, str] | None = None) -> None:
        """*tls*: PEM texts of CA, certificate and key; then there is no other listener."""
        super().__init__(directory)
        self.port = spare()
        self.host = f"{LOOPBACK}:{self.port}"
        own = [f"bind {LOOPBACK}", f"dir {directory}", "appendonly yes", "appendfsync always", "save ''"]
        own += self._listener(tls)
        self.config = directory / "redis.conf"
        self.config.write_text("\n".join([*own, *lines, ""]))

    def _listener(self, tls: tuple[str, str, str] | None) -> list[str]:
        if tls is None:
            return [f"port {self.port}"]
        for name, pem in zip(("ca", "cert", "key"), tls, strict=True):
            path = self.directory / f"{name}.pem"
            path.touch(0o600)
            path.write_text(pem)
        files = ["tls-ca-cert-file ca.pem", "tls-cert-file cert.pem", "tls-key-file key.pem"]
        return ["port 0", f"tls-port {self.port}", "tls-auth-clients no", *files]

    def start(self, *arguments: str) -> None:
        """Start it and wait until it listens; from a coroutine, call it through asyncio.to_thread."""
        if PROGRAM is None:
            missing("Redis needs redis-server: apt-get install redis-server")
        self._launch([PROGRAM, str(self.config), *arguments])
        self._wait_ready(partial(listens, self.port), READY_WITHIN)


def start_redis(directory: Path, lines: Sequence[str] = (), *, tls: tuple[str, str, str] | None = None) -> Redis:
    """A running server; the caller stops it."""
    server = Redis(directory, lines, tls=tls)
    server.start()
    return server
