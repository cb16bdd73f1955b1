"""Frames of the control stream ``evoke.v1``: one bidirectional stream per agent, everything level-triggered.

On the wire a frame is a 4-byte big-endian length and the JSON of one of these types (tag field ``t``). Receivers
ignore unknown frames and unknown fields. Every frame down carries the controller's epoch; a frame of a lower epoch
than the highest seen is dropped. After a reconnect both sides send their full state again.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from api.meta import Key, RevisionKey
from api.model import AppSubscription, Snapshot

PROTOCOL = "evoke.v1"
MAX_FRAME = 16 << 20


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", omit_defaults=True):
    """Base of all frames."""


class Hello(Frame, frozen=True, kw_only=True):
    """First frame up: who speaks."""

    protocol: str = PROTOCOL
    role: Literal["proxy", "gateway"]
    agent: str
    """Stable name, such as ``proxy-0``."""
    boot_id: str
    """New at every process start: counters restart with it."""
    version: str = ""
    have: dict[str, str] = {}
    """Namespace -> digest of the snapshot it acts on."""


class TriggerReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the owner of one subscription sees."""

    subscription: Key
    revision: RevisionKey
    """Backend that the next events go to; names no function where they go to a sink, or no revision is ready yet."""
    epoch: int = 0
    floor: int = 0
    lag: int = 0
    """Matching events not yet done: held in the window plus waiting in the broker."""
    matched_ratio: float = 1.0
    runnable: int = 0
    """Distinct keys that could start now: more replicas than this buy nothing."""
    held: int = 0
    parked: int = 0
    in_flight: int = 0
    oldest_ms: int = 0
    arrived: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0
    untold: int = 0
    """Events that did not match because filter or condition could not be told of them."""
    handler_us: float = 0.0
    """Mean handler time per event, exponentially weighted."""
    wait_p50_ms: float = 0.0
    wait_p99_ms: float = 0.0
    """Time from arrival at the proxy to the handler's answer, over the last minute."""
    blind: str = ""
    """Why lag cannot be told; the numbers above are then not to be used for scale-in."""
    condition: str = ""
    """A Subscribed reason (``DownstreamFailing``, ``BusUnreachable``...) while it holds."""
    last_error: str = ""


class RouteReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one gateway sees of one revision."""

    revision: RevisionKey
    in_flight: int = 0
    waiting: int = 0
    """Requests held because no replica has room."""
    arrived: int = 0
    done: int = 0
    failed: int = 0
    handler_us: float = 0.0


class SourceReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of one event source on the proxy that hosts it."""

    source: Key
    connected: bool = False
    received: int = 0
    published: int = 0
    reason: str = ""
    """A Connected reason while it is not connected."""
    message: str = ""


class BusReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Connection of one proxy to one bus."""

    bus: Key
    connected: bool = False
    detail: str = ""
    """``nats 2.15.1, on disk``"""
    reason: str = ""
    message: str = ""


class ComponentReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Dapr component as one proxy sees it."""

    component: Key
    connected: bool = False
    reason: str = ""
    """A Connected reason while it is not connected."""
    message: str = ""


class StreamReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A subscription that an app has asked for by a stream; told until the snapshot has it."""

    function: Key
    subscription: AppSubscription


class Readings(Frame, frozen=True, kw_only=True):
    """Every second and on change, always complete for this agent."""

    boot_id: str
    seq: int
    triggers: tuple[TriggerReading, ...] = ()
    routes: tuple[RouteReading, ...] = ()
    sources: tuple[SourceReading, ...] = ()
    buses: tuple[BusReading, ...] = ()
    components: tuple[ComponentReading, ...] = ()
    streams: tuple[StreamReading, ...] = ()
    used: dict[str, int] = {}
    """Replica id -> requests and events in flight from this agent; absent: none."""
    stuck: tuple[str, ...] = ()
    """Replicas whose handler is past its deadline and may still run, in a thread that nobody can cancel. The keys of
    their events wait until they are gone, so whoever starts replicas should end them."""


class Want(Frame, frozen=True, kw_only=True):
    """Work waits for a revision without an endpoint. A hint, repeated with every reading while it is true."""

    revision: RevisionKey
    generation: int = 0
    """Highest generation of endpoints seen for it."""
    waiting: int = 1
    reason: str = ""


class Closed(Frame, frozen=True, kw_only=True):
    """Answer to Close: nothing of this agent is in flight there, and nothing new will be."""

    revision: RevisionKey
    generation: int
    replicas: tuple[str, ...]


class Refused(Frame, frozen=True, kw_only=True):
    """Answer to Close: work is held, in flight, or the agent is unsure."""

    revision: RevisionKey
    generation: int
    replicas: tuple[str, ...]
    held: int = 0


class Notice(Frame, frozen=True, kw_only=True):
    """Something a person watching should see: a failed attempt, a dead letter, a slow start."""

    namespace: str
    function: str
    """Empty: the events of *trigger* go to a sink."""
    trigger: str = ""
    kind: Literal["attempt-failed", "dead-letter", "delivered", "activation", "source"]
    message: str
    event_id: str = ""


class Config(Frame, frozen=True, kw_only=True):
    """Down: the snapshot of one namespace; replaces what was there."""

    epoch: int
    snapshot: Snapshot


class Assign(Frame, frozen=True, kw_only=True):
    """Down: the subscriptions and sources that this agent, and nobody else, shall own; always complete."""

    epoch: int
    subscriptions: tuple[Key, ...] = ()
    sources: tuple[Key, ...] = ()


class AppListener(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of the Dapr API at which whoever connects speaks as *function*."""

    function: Key
    http: str
    """``host:port``"""
    grpc: str


class Listen(Frame, frozen=True, kw_only=True):
    """Down: the apps that this proxy serves at addresses of their own; always complete."""

    epoch: int
    apps: tuple[AppListener, ...] = ()


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    replica: str
    address: str
    """``unix:/path`` or ``host:port``"""
    credit: int = 1
    """Events or requests in flight that it takes."""
    batch: int = 0
    """Largest batch it takes; 0: one event per POST."""
    protocol: Literal["evoke", "http", "grpc"] = "evoke"
    """``evoke``: our framework. The others are Dapr apps, which know no epochs, attempts and fences."""
    ordered: bool = False
    """Runs a key's entries of one batch in order and omits the rest of a key after a failure."""


class Endpoints(Frame, frozen=True, kw_only=True):
    """Down: the ready replicas of one revision; always complete for the revision."""

    epoch: int
    revision: RevisionKey
    generation: int
    """Grows with every change; an agent drops one that is older than what it has."""
    endpoints: tuple[Endpoint, ...] = ()


class Close(Frame, frozen=True, kw_only=True):
    """Down: stop using these replicas.

    With *last* they are all that is left: refuse if anything is held or in flight or in doubt, else remove them, arm
    the doorbell, check the level, and answer Closed. Otherwise: take nothing new, answer Closed at in-flight zero.
    """

    epoch: int
    revision: RevisionKey
    generation: int
    replicas: tuple[str, ...]
    last: bool = False


class Reopen(Frame, frozen=True, kw_only=True):
    """Down: a Close was called off; Endpoints of a higher generation follow."""

    epoch: int
    revision: RevisionKey
    generation: int


Up: TypeAlias = Hello | Readings | Want | Closed | Refused | Notice
Down: TypeAlias = Config | Assign | Listen | Endpoints | Close | Reopen
