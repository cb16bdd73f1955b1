"""A real mosquitto for tests, on free ports, with its data under one directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare

PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
READY_WITHIN = 10.0


class Mosquitto:
    """One broker with persistence; *text* joins its configuration."""

    def __init__(
        self,
        directory: Path,
        *,
        user: str = "",
        password: str = "",
        tls: tuple[str, str, str] | None = None,
        text: str = "",
    ) -> None:
        self.directory = directory
        self.port, self.tls_port = spare(), spare()
        self.url = f"mqtt://{LOOPBACK}:{self.port}"
        self.tls_url = f"mqtts://{LOOPBACK}:{self.tls_port}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
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

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens; from a coroutine, call it through asyncio.to_thread."""
        assert PROGRAM is not None
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-c", str(self.directory / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._listens():
            assert self._process.poll() is None, (self.directory / "mosquitto.log").read_text()
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.01)  # polling another process's listener: nothing tells when it opens

    def _listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop as an operator does; it writes its data."""
        self._end(signal.SIGTERM)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it with *how* and start it again on the same data and ports."""
        self._end(how)
        self.start()

    def freeze(self) -> None:
        """Let it answer nothing until thaw(); returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.001)  # a signal is taken in its own time, and nothing tells when

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None


def start_mosquitto(
    directory: Path,
    *,
    user: str = "",
    password: str = "",
    tls: tuple[str, str, str] | None = None,
    text: str = "",
) -> Mosquitto:
    """A running broker; *tls* (PEM texts of CA, certificate, key) opens a TLS listener too. The caller stops it."""
    if PROGRAM is None and not os.environ.get("CI"):
        pytest.skip("MQTT 5 needs mosquitto: apt-get install mosquitto")
    broker = Mosquitto(directory, user=user, password=password, tls=tls, text=text)
    broker.start()
    return broker
