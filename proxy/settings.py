"""What one proxy process is told at its start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import msgspec

from api.meta import Key
from api.model import Bus, Option
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.connect import connect


def as_written(namespace: str, option: Option) -> str:
    """Resolve options where there is no store of secrets."""
    if not isinstance(option, str):
        raise LookupError(f"secret {option.name} of namespace {namespace} cannot be read here")
    return option


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    control: Path
    """Socket of the control stream."""
    cache: Path
    """Directory of this agent's snapshots: ``STATE/snapshots/<agent>``."""
    agent: str = "proxy-0"
    """Stable name; also the worker that owns subscriptions on the bus."""
    operations: Path | None = None
    """Socket of the operations API, mode 0600; None: not served."""
    dapr_socket: Path | None = None
    """Socket of the Dapr API for functions of this machine; None: not served."""
    dapr: str | None = None
    """``host:port`` of the Dapr API for apps that need TCP; None: not served."""
    dapr_grpc: str | None = None
    """``host:port`` of Dapr's gRPC API; None: not served."""
    platform: Platform | None = None
    """Where the embedded broker stands, and the key of function tokens; None: every bus and source says so itself, and
    the Dapr API asks for no token."""
    resolve: Callable[[str, Option], str] = as_written
    """(namespace, option) -> its text, secrets included; raises NotFound."""
    keeper: Callable[[str], Mapping[str, Mapping[str, str]]] | None = None
    """Namespace -> all of its secrets with their values; None: they cannot be listed here."""
    shared: bool = True
    """Whether apps are served that are not of the person who started this process: its environment is not theirs, and
    what a caller shows as its token is looked at."""
    folder: Path = Path()
    """Where paths that components name begin; the working directory where nothing is said."""
    on_shutdown: Callable[[Key], None] | None = None
    """Told the function that has asked for the end of its Dapr runtime."""
    connect: Callable[[Bus, Callable[[Option], str]], EventBus] = connect
    """How a bus is reached."""
    loopback_sinks: bool = True
    """Whether sinks may name this machine itself; False where loopback is the proxy's own pod."""
    interval: timedelta = timedelta(seconds=1)
    """Between two readings; changes are told at once."""
    trim_every: timedelta = timedelta(seconds=10)
    """Between two rounds of dropping from the buses what every subscription has passed."""
