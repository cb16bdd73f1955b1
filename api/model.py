"""The neutral model: what planners, proxies and gateways see instead of anybody's wire format.

Every type is frozen data; a digest is the sha256 of its deterministic JSON. Nothing here knows a substrate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from api.delivery import Backoff, DeliveryPolicy
from api.meta import Key, RevisionKey, SecretKeyRef

Option: TypeAlias = str | SecretKeyRef
"""A value as written, or where the secret stands."""

Phase = Literal["starting", "ready", "draining", "gone"]
Host = Literal["python", "command", "lambda", "wasm"]
AppProtocol = Literal["http", "grpc"]
"""What a Dapr app listens with: routes over HTTP, or Dapr's AppCallback service."""

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
    framework: bool = True
    """It is code for functions_framework, which its environment has; False: another program, with its own only."""


class AppHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How an app is asked whether it can take work; the defaults are Dapr's."""

    path: str = "/healthz"
    """Over HTTP; a gRPC app is asked through AppCallbackHealthCheck."""
    every: timedelta = timedelta(seconds=5)
    timeout: timedelta = timedelta(milliseconds=500)
    threshold: int = 3
    """Failures in a row after which it gets nothing new, until the first success."""


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
    """Of host ``command``: where the app listens; 0: where $APP_PORT tells it to."""
    command: tuple[str, ...] = ()
    """Of host ``command``: the program and its arguments, in the folder of the code."""
    protocol: AppProtocol = "http"
    """Of host ``command``."""
    health: AppHealth | None = None
    """Of host ``command``; None: it counts as well while it listens."""
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
    internal: bool = False
    """Only other functions reach it, by service invocation."""
    queued: bool = True
    """Takes asynchronous calls too: they wait on the bus."""


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    key: Key
    kind: Literal["memory", "nats", "kafka", "mqtt", "jetstream", "redis"]
    """``nats``: streams of our own; ``jetstream``: those that somebody else made."""
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


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One routing rule of a Dapr subscription."""

    match: str
    """CEL over ``event``; empty: every event."""
    path: str


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
    """Where the replica takes the POST; of a gRPC app: the path it knows the subscription by."""
    rules: tuple[Rule, ...] = ()
    """Tried in order before *path*: the first that matches says the path."""
    unmatched: bool = False
    """There is no default path: what no rule matches is done with, in the dead letters where some are declared."""
    form: Literal["event", "raw", "binding", "stream"] = "event"
    """What the app is handed. ``raw``: the event's data in an envelope of its own (Dapr's rawPayload); ``binding``: the
    data alone, with the metadata beside it; ``stream``: events on the streams that the app has opened."""
    metadata: dict[str, str] = {}
    """Of the Dapr subscription, as written."""
    programmatic: bool = False
    """The app itself asks for it, while it runs."""
    filter: Filter | None = None
    condition: str | None = None
    sink: Sink | None = None
    """None: the function of *backends*."""
    backends: tuple[Backend, ...] = ()
    delivery: DeliveryPolicy = DeliveryPolicy()
    start: Literal["new", "all", "resume"] = "new"
    bulk: int = 100
    """Largest batch where the replica takes batches; of form ``stream`` the events that a stream holds without an
    answer, where the app's replicas do not say how many they take."""
    bulk_subscribe: bool = False
    """The app takes Dapr's bulk message for this subscription, whatever its replicas say of batches."""
    bulk_wait: timedelta = timedelta(0)
    """How long a batch that is not full waits for more."""
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
    """One Dapr component; those of a pub/sub type stand as a Bus of the same key too."""

    key: Key
    """Name is that of the resource, or ``<function>/<name>`` of one that a Function declares for itself."""
    type: str
    """``state.redis``..."""
    version: str
    metadata: dict[str, Option] = {}
    """Names as written; they are compared without regard to case."""
    scopes: tuple[str, ...] = ()
    """App ids that may use it; empty: all of the namespace."""
    secret_store: str = ""
    """Secret store component that its references are looked up in; empty: the platform's own secrets."""
    ignore_errors: bool = False
    init_timeout: timedelta = timedelta(seconds=5)
    topic_prefix: str = ""
    """Of a pub/sub type: put before every topic (Dapr's rule for components that say ``{namespace}``)."""

    @property
    def name(self) -> str:
        """What apps call it."""
        return self.key.name.rpartition("/")[2]

    @property
    def owner(self) -> str:
        """The function that declares it for itself; empty: none."""
        return self.key.name.rpartition("/")[0]


class SecretScope(msgspec.Struct, frozen=True, kw_only=True):
    """What an app may read of one secret store (Configuration, spec.secrets.scopes)."""

    store: str
    default: Literal["allow", "deny"] = "allow"
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


class ApiRule(msgspec.Struct, frozen=True, kw_only=True):
    """APIs that a Configuration allows or denies (spec.api)."""

    name: str
    """First part of the path after the version: ``publish``, ``state``, ``invoke``..."""
    version: str = "v1.0"
    protocol: Literal["http", "grpc"] = "http"


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A retry policy of Resiliency."""

    backoff: Backoff
    max_retries: int = -1
    """-1: without end."""
    statuses: str = ""
    """HTTP codes and ranges that are tried again (``429,500-599``); empty: all failures."""
    codes: str = ""
    """The same for gRPC codes."""


class CircuitBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit breaker of Resiliency."""

    trip: str = "consecutiveFailures > 5"
    """CEL over ``requests``, ``totalSuccesses``, ``totalFailures``, ``consecutiveSuccesses`` and
    ``consecutiveFailures``."""
    max_requests: int = 1
    """Let through while it is half open."""
    interval: timedelta = timedelta(0)
    """After which a closed one forgets what it counted; 0: never."""
    timeout: timedelta = timedelta(seconds=60)
    """From open to half open."""


class Resilience(msgspec.Struct, frozen=True, kw_only=True):
    """What guards the calls of an app to one target."""

    target: str
    """``app:<app id>`` or ``component:<name>``; ``app:`` and ``component:`` alone are the defaults."""
    timeout: timedelta | None = None
    retry: Retry | None = None
    breaker: CircuitBreaker | None = None


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One function as the Dapr API knows it."""

    key: Key
    """Of the function."""
    id: str
    """Its Dapr app id."""
    protocol: Literal["evoke", "http", "grpc"] = "evoke"
    """``evoke``: handlers of functions_framework."""
    token: Option = ""
    """APP_API_TOKEN: what the app expects of its caller; empty: nothing."""
    secrets: tuple[SecretScope, ...] = ()
    allowed_apis: tuple[ApiRule, ...] = ()
    """Of the protocols that are named here: all that it may call; empty: everything."""
    denied_apis: tuple[ApiRule, ...] = ()
    """Wins over *allowed_apis*."""
    denied_components: tuple[str, ...] = ()
    """Types (``bindings.http``, ``bindings.http/v1``) that are not there for it."""
    resilience: tuple[Resilience, ...] = ()
    """Of its calls out; what guards the deliveries to it stands in their DeliveryPolicy."""
    max_body: int = 4 << 20
    """Bytes of a request to the API."""

    def is_called(self, name: str) -> bool:
        """Whether *name* means this app in a scope or an invocation: its id, or the function's name, alone or as
        Dapr's ``name.namespace``."""
        return name in {self.id, self.key.name, f"{self.key.name}.{self.key.namespace}"}


class AppSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that an app declares itself, over /dapr/subscribe, ListTopicSubscriptions or a stream."""

    pubsub: str
    topic: str
    path: str = ""
    """Default path; empty with *rules*: none."""
    rules: tuple[Rule, ...] = ()
    metadata: dict[str, str] = {}
    dead_letter: str = ""
    bulk: int = 0
    """Largest batch; 0: one event per call."""
    bulk_wait: timedelta = timedelta(0)
    stream: bool = False


class AppDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a running app said of itself."""

    subscriptions: tuple[AppSubscription, ...] = ()
    bindings: tuple[str, ...] = ()
    """Input bindings that it takes."""


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
    apps: tuple[App, ...] = ()


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
