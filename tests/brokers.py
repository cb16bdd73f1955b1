"""Real brokers for tests: plain functions, so that any conftest may build a fixture of its own scope from them."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from api.platform import LOOPBACK, spare
from eventbus import embedded
from tests.servers import Server


class Nats(Server):
    """One nats-server with JetStream and MQTT."""

    name = "nats"

    def __init__(self, directory: Path, durability: Literal["sync", "os"] = "sync") -> None:
        super().__init__(directory)
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

    def start(self, text: str = "") -> None:
        """Start, with *text* as its configuration if given, and wait until it is ready; from a coroutine, call it
        through asyncio.to_thread."""
        config = self.directory / "nats.conf"
        embedded.write_config(config, self.settings)
        if text:
            config.write_text(text)
        self._launch(embedded.command(config, cache=self.directory / "nats-server.checked"))
        with ThreadPoolExecutor(1) as pool:  # a thread of its own: the caller's may have a running loop
            pool.submit(asyncio.run, embedded.wait_ready(self.settings)).result()


def start_nats(directory: Path, durability: Literal["sync", "os"] = "sync") -> Nats:
    """A running server whose data stand under *directory*; the caller stops it."""
    server = Nats(directory, durability)
    server.start()
    return server
