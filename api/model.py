"""The neutral model: what planners, proxies and gateways see instead of anybody's wire format.

Every type is frozen data; a digest is the sha256 of its deterministic JSON. Nothing here knows a substrate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from api.delivery import DeliveryPolicy
from api.meta import Key, RevisionKey, SecretKeyRef

Option: TypeAlias = str | SecretKeyRef
"""A value as written, or where the secret stands."""

Phase = Literal["starting", "ready", "draining", "gone"]
Host = Literal["python", "command", "lambda", "wasm"]

_encoder = msgspec.json.Encoder(order="deterministic")


def digest(value: object) -> str:
    """Return ``sha256:<hex>`` of the deterministic JSON of *value*."""
    return "sha256:" + hashlib.sha256(_encoder.encode(value)).hexdigest()


class Env(msgspec.Struct, frozen=True):
    name: str
    value: Option


class SecretMount(msgspec.Struct, frozen=True, kw_only=True):
    secret: str
    path: str
    keys: tuple[str, ...] = ()


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one replica; *memory* and *scratch* in bytes."""

    cpu_milli: int = 1000
    memory: int = 256 << 20
    pids: int = 256
    scratch: int = 256 << 20


class Bundle(msgspec.Struct, frozen=True, kw_only=True, tag="bundle"):
    """Code as a content-addressed tree, apart from the runtime that holds its dependencies."""

    code: str
    """Digest of the code tree."""
    runtime: str
    """Digest of the environment: interpreter, framework and requirements."""
    source: str = ""
    """Where the tree stands on this machine; empty where it is fetched by digest."""
    code_size: int = 0


class Image(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    reference: str
    pull_secret: str | None = None


class Unbuilt(msgspec.Struct, frozen=True, kw_only=True, tag="unbuilt"):
    """Nothing to run yet; *build* is the digest of the Build that will make it."""

    build: str


Artifact: TypeAlias = Bundle | Image | Unbuilt


class Directory(msgspec.Struct, frozen=True, kw_only=True, tag="directory"):
    path: str


class Git(msgspec.Struct, frozen=True, kw_only=True, tag="git"):
    url: str
    revision: str = ""
    subpath: str = ""
    credentials: str | None = None


class SourceImage(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    reference: str
    subpath: str = ""


BuildSource: TypeAlias = Directory | Git | SourceImage


class Build(msgspec.Struct, frozen=True, kw_only=True):
    key: Key
    source: BuildSource
    strategy: Literal["bundle", "dockerfile", "shipwright"] = "bundle"
    env: tuple[Env, ...] = ()
    params: dict[str, str | SecretKeyRef | tuple[str, ...]] = {}
    output: str | None = None
    push_secret: str | None = None
    timeout: timedelta = timedelta(minutes=10)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a substrate needs to start one replica of one revision."""

    key: RevisionKey
    artifact: Artifact
    host: Host = "python"
    target: str = ""
    """``module:name``, ``name``, or empty: the only decorated function."""
    context: bytes = b""
    """FUNC_CONTEXT as JSON (functions_framework.context_schema)."""
    port: int = 8080
    env: tuple[Env, ...] = ()
    secrets: tuple[SecretMount, ...] = ()
    resources: Resources = Resources()
    concurrency: int = 0
    """Events and requests in flight per replica; 0: the handler's own default."""
    start_timeout: timedelta = timedelta(minutes=1)
    grace: timedelta = timedelta(seconds=30)
    kind: Literal["service", "stateful", "job"] = "service"
    warm: bool = True
    cold_reason: str = ""
    pod: bytes | None = None
    """Allowlisted PodTemplate as JSON; only controller/kubernetes reads it."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    def revision_digest(self) -> str:
        """Digest of what makes a revision: neither its own name nor labels and annotations."""
        bare = msgspec.structs.replace(
            self, key=RevisionKey(self.key.namespace, self.key.function, ""), labels={}, annotations={}
        )
        return digest(bare)


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    revision: RevisionKey
    weight: int = 100
    tag: str | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    path: str = "/"
    kind: Literal["prefix", "exact"] = "prefix"
    methods: tuple[str, ...] = ()
    """Empty: every method."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How requests reach one function; ``/function/NAMESPACE/NAME/`` always does, hosts and matches are additional."""

    key: Key
    hosts: tuple[str, ...] = ()
    matches: tuple[Match, ...] = ()
    backends: tuple[Backend, ...] = ()
    timeout: timedelta = timedelta(seconds=60)
    queue: int = 1000
    """Requests that may wait for a replica before 503."""


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    key: Key
    kind: Literal["memory", "nats", "kafka", "mqtt"]
    options: dict[str, Option] = {}


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvents subscription filter as written; compiled in triggers/filters.py.

    *argument* is the JSON of the dialect's argument; dialect ``expression`` is ours: a condition over attributes and
    data.
    """

    dialect: Literal["exact", "prefix", "suffix", "all", "any", "not", "sql", "expression"]
    argument: str


class UriSink(msgspec.Struct, frozen=True, kw_only=True, tag="uri"):
    """Events are POSTed to an HTTP address as structured CloudEvents."""

    url: str


class TopicSink(msgspec.Struct, frozen=True, kw_only=True, tag="topic"):
    """Events are published on, unchanged, on another subject of the subscription's own bus."""

    subject: str


class JoinSink(msgspec.Struct, frozen=True, kw_only=True, tag="join"):
    """Events are one input of a Join."""

    join: Key
    input: str
    """The input's name in the join's condition."""


Sink: TypeAlias = UriSink | TopicSink | JoinSink
"""Where a subscription's events go when that is not a function."""


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """Events of several inputs that find each other within a window; what they make is published on *subject*."""

    key: Key
    """Name is ``<trigger>.<first receiver of the subscriber>``."""
    bus: Key
    condition: str
    """Boolean over the names of the inputs: ``a && (b || !c)``."""
    inputs: tuple[str, ...]
    window: timedelta
    """How long an event counts as there after it arrived."""
    correlate: str = ""
    """Attribute or ``data`` path whose value the events share; empty: any event goes with any other."""
    forward: Literal["newest", "all"] = "newest"
    """``newest``: the event that completed the condition, as upstream; ``all``: one event whose data holds them all."""
    subject: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One subject of one bus, delivered to one receiver: the unit of ownership, order, lag and dead letters."""

    key: Key
    bus: Key
    subject: str
    group: str
    """Who shares the floor; stable over edits of everything else."""
    trigger: str = ""
    """Name under which people see it: the Trigger, or the function for its own dapr triggers."""
    path: str = "/"
    """Where the replica takes the POST."""
    filter: Filter | None = None
    condition: str | None = None
    sink: Sink | None = None
    """None: the function of *backends*."""
    backends: tuple[Backend, ...] = ()
    delivery: DeliveryPolicy = DeliveryPolicy()
    start: Literal["new", "all", "resume"] = "new"
    bulk: int = 100
    """Largest batch where the replica takes batches."""
    in_flight: int = 4096
    """Upper bound of the window."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Brings outside events onto a subject of a bus."""

    key: Key
    """Name is ``<eventsource>.<event>``."""
    kind: Literal["mqtt", "kafka", "redis", "cron", "nats", "http"]
    options: dict[str, Option] = {}
    bus: Key
    subject: str
    singleton: bool = True


class Component(msgspec.Struct, frozen=True, kw_only=True):
    key: Key
    type: str
    version: str
    metadata: dict[str, Option] = {}
    scopes: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What proxies and gateways of one namespace act on; byte-equal on every substrate for the same resources."""

    namespace: str
    generation: int = 0
    digest: str = ""
    """Digest of the content below, without *generation* and itself."""
    routes: tuple[Route, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    sources: tuple[Source, ...] = ()
    joins: tuple[Join, ...] = ()
    buses: tuple[Bus, ...] = ()
    components: tuple[Component, ...] = ()


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running instance as the substrate sees it."""

    id: str
    revision: RevisionKey
    phase: Phase
    address: str | None = None
    """``unix:/path`` or ``host:port``; None until it listens."""
    since: datetime
    reason: str = ""
    exit: int | None = None
