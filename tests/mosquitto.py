"""A real mosquitto for tests, on free ports, with its data under one directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

from api.platform import LOOPBACK, spare
from tests.servers import Server, listens, missing

PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
READY_WITHIN = 10.0


class Mosquitto(Server):
    """One broker with persistence; *text* joins its configuration."""

    name = "mosquitto"
    restarts_with = signal.SIGTERM
    """It writes its data when it is stopped as an operator does."""

    def __init__(
        self,
        directory: Path,
        *,
        user: str = "",
        password: str = "",
        tls: tuple[str, str, str] | None = None,
        text: str = "",
    ) -> None:
        if PROGRAM is None:
            missing("MQTT 5 needs mosquitto: apt-get install mosquitto")
        super().__init__(directory)
        self.port, self.tls_port = spare(), spare()
        self.url = f"mqtt://{LOOPBACK}:{self.port}"
        self.tls_url = f"mqtts://{LOOPBACK}:{self.tls_port}"
        lines = ["per_listener_settings false", "persistence true", f"persistence_location {directory}/"]
        lines += ["autosave_interval 1", "autosave_on_changes true", "max_queued_messages 0", "set_tcp_nodelay true"]
        lines += [f"allow_anonymous {'false' if user else 'true'}", "user root"]
        if user:
            self._passwords(user, password)
            lines.append(f"password_file {directory}/passwords")
        lines.append(f"listener {self.port} {LOOPBACK}")
        if tls is not None:
            lines += [f"listener {self.tls_port} {LOOPBACK}", *self._certificates(*tls)]
        (directory / "mosquitto.conf").write_text("\n".join([*lines, text, ""]))

    def _passwords(self, user: str, password: str) -> None:
        passwords = self.directory / "passwords"
        passwords.write_text(f"{user}:{password}\n")
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)

    def _certificates(self, ca: str, cert: str, key: str) -> list[str]:
        for name, pem in (("ca", ca), ("cert", cert), ("key", key)):
            path = self.directory / f"{name}.pem"
            path.write_text(pem)
            path.chmod(0o600)
        return [f"{option} {self.directory}/{name}.pem" for option, name in
                (("cafile", "ca"), ("certfile", "cert"), ("keyfile", "key"))]  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it listens; from a coroutine, call it through asyncio.to_thread."""
        assert PROGRAM is not None
        self._launch([PROGRAM, "-c", str(self.directory / "mosquitto.conf")])
        self._wait_ready(partial(listens, self.port), READY_WITHIN)


def start_mosquitto(
    directory: Path,
    *,
    user: str = "",
    password: str = "",
    tls: tuple[str, str, str] | None = None,
    text: str = "",
) -> Mosquitto:
    """A running broker; *tls* (PEM texts of CA, certificate, key) opens a TLS listener too. The caller stops it."""
    broker = Mosquitto(directory, user=user, password=password, tls=tls, text=text)
    broker.start()
    return broker
