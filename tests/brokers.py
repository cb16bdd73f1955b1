"""Real brokers for tests: plain functions, so that any conftest may build a fixture of its own scope from them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from api.platform import LOOPBACK, spare
from eventbus import embedded


class Nats:
    """One nats-server with JetStream and MQTT, on free ports, with its data under one directory."""

    def __init__(self, directory: Path, durability: Literal["sync", "os"] = "sync") -> None:
        self.directory = directory
        self.user, self.password = "evoke", os.urandom(8).hex()
        self.mqtt_port = spare()
        self.settings = embedded.Settings(
            store=directory / "nats",
            nats=f"{LOOPBACK}:{spare()}",
            mqtt=f"{LOOPBACK}:{self.mqtt_port}",
            user=self.user,
            password=self.password,
            durability=durability,
        )
        self.url = f"nats://{self.settings.nats}"
        self.options = {"url": self.url, "user": self.user, "password": self.password}
        """Options of a model.Bus of kind nats."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, text: str = "") -> None:
        """Start, with *text* as its configuration if given, and wait until it is ready; from a coroutine, call it
        through asyncio.to_thread."""
        config = self.directory / "nats.conf"
        embedded.write_config(config, self.settings)
        if text:
            config.write_text(text)
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                embedded.command(config, cache=self.directory / "nats-server.checked"), stdout=log, stderr=log
            )
        with ThreadPoolExecutor(1) as pool:  # a thread of its own: the caller's may have a running loop
            pool.submit(asyncio.run, embedded.wait_ready(self.settings)).result()

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop as an operator does."""
        self._end(signal.SIGTERM)

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
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
            self._process.wait(20)
            self._process = None


def start_nats(directory: Path, durability: Literal["sync", "os"] = "sync") -> Nats:
    """A running server whose data stand under *directory*; the caller stops it."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Nats(directory, durability)
    server.start()
    return server
