"""The facts of one local platform that outlive a start: addresses, broker credentials and the key that signs tokens.

They stand in ``STATE/platform.json`` (mode 0600). Ports are kept from start to start while they are free, so that a
publisher configured once goes on working.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from api.meta import Key

FILE = "platform.json"
LOOPBACK = "127.0.0.1"
Durability: TypeAlias = Literal["sync", "os"]
"""When an event is on the disk of the embedded broker: ``sync`` before it is acknowledged, ``os`` within two minutes.
Neither loses it to a killed process, only ``os`` to power loss or a crash of the machine."""
PREFERRED = {"http": 8080, "mqtt": 1883, "nats": 4222, "dapr": 3500, "dapr_grpc": 50001}


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses are ``host:port``."""

    http: str
    mqtt: str
    nats: str
    dapr: str
    dapr_grpc: str = ""
    """Empty: chosen by a release that had none."""
    nats_user: str
    nats_password: str
    key: str
    """Hex of the 32 bytes that sign function tokens."""
    durability: Durability = "sync"
    """Of this start; it is not kept for the next."""
    project: str = ""
    """Value of the label ``evoke.dev/project`` on what `evoke up` applied last; empty: nothing yet."""

    def token(self, function: Key) -> str:
        """``<namespace>.<function>.<hmac>``: what a replica shows to the Dapr API, and by which it is known there."""
        signature = hmac.new(bytes.fromhex(self.key), str(function).encode(), hashlib.sha256).hexdigest()
        return f"{function.namespace}.{function.name}.{signature}"

    def caller(self, token: str) -> Key | None:
        """The function that *token* was made for; None when it is not one of ours. Takes constant time."""
        namespace, _, rest = token.partition(".")
        function, _, _ = rest.rpartition(".")
        key = Key(namespace, function)
        return key if hmac.compare_digest(self.token(key).encode(), token.encode()) else None


def load(state: Path) -> Platform | None:
    """Read what an earlier start wrote; None when there was none."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Platform)
    except FileNotFoundError:
        return None


def save(state: Path, platform: Platform) -> None:
    """Write atomically, readable by the owner only."""
    handle, name = tempfile.mkstemp(dir=state, prefix=".platform-")  # mkstemp's mode is 0600
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(platform)) + b"\n")
    Path(name).replace(state / FILE)


def choose(
    known: Platform | None, *, http_port: int | None = None, durability: Durability = "sync", anywhere: bool = False
) -> Platform:
    """Addresses for the next start: those of *known* while they are free, else the preferred ones, else any.

    *http_port* is the user's own wish and is taken as it stands; the listener itself reports when it is in use.
    *anywhere*: any free ones at once, for what nobody has to find.
    """
    taken: set[int] = set()
    chosen: dict[str, str] = {}
    for name, preferred in PREFERRED.items():
        before = int((getattr(known, name) if known else "").rpartition(":")[2] or preferred)
        wish = [http_port] if name == "http" and http_port else [] if anywhere else [before, preferred]
        port = next((port for port in wish if port not in taken and (port == http_port or free(port))), None) or spare()
        taken.add(port)
        chosen[name] = f"{LOOPBACK}:{port}"
    if known:
        return msgspec.structs.replace(known, **chosen, durability=durability)
    return Platform(
        **chosen,
        nats_user="evoke",
        nats_password=secrets.token_hex(16),
        key=secrets.token_hex(32),
        durability=durability,
    )


def free(port: int) -> bool:
    """Whether a listener may bind *port* on the loopback now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the real listeners: TIME_WAIT does not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def spare() -> int:
    """Any free port."""
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def run_directory(state: Path) -> Path:
    """Where the sockets of *state* stand: a short path, because a socket's path is limited to 107 bytes."""
    name = hashlib.sha1(str(state.absolute()).encode(), usedforsecurity=False).hexdigest()[:10]
    base = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(base) / "evoke" if base and len(base) <= 40 else Path(tempfile.gettempdir()) / f"evoke-{os.getuid()}"
    return root / name
