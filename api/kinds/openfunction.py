"""OpenFunction's core resources (core.openfunction.io/v1beta2) with our extensions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from api.kinds.build import BuildBody
from api.kinds.dapr import ComponentBody
from api.kinds.delivery import Delivery
from api.kinds.fields import (
    DaprTopic,
    Duration,
    EnvName,
    Handler,
    Host,
    LocalObjectReference,
    Name,
    ObjectReference,
    Port,
    Replicas,
    ValueFrom,
    Wire,
)
from api.kinds.networking import RouteRule
from api.kinds.pod import PodTemplate, ResourceRequirements
from api.kinds.scale import ScaleOptions


class RouteImpl(Wire, frozen=True, kw_only=True):
    """Hosts and paths of a function, beside ``/function/NAMESPACE/NAME/``, which always answers."""

    gateway_ref: ObjectReference | None = None
    """Gateway it belongs to."""
    hostnames: Annotated[tuple[Host, ...], Meta(max_length=16)] = ()
    """Hosts it answers for."""
    rules: Annotated[tuple[RouteRule, ...], Meta(max_length=16)] = ()
    """Which requests it gets."""


class HttpTrigger(Wire, frozen=True, kw_only=True):
    """A synchronous function."""

    port: Port | None = None
    """Port that the function listens on; 8080 where it is not given."""
    route: RouteImpl | None = None
    """Hosts and paths."""
    engine: Literal["knative", "keda"] | None = None
    """Upstream's engine; ours needs neither."""


class DaprTrigger(Wire, frozen=True, kw_only=True):
    """An event trigger: a topic of an EventBus or pubsub component, or an input binding."""

    name: Name
    """An EventBus of the namespace, or a component of ``bindings``, ``pubsub``, or one that exists."""
    type: str | None = None
    """Component type such as ``pubsub.kafka``; looked up where it is not given."""
    topic: DaprTopic | None = None
    """The topic; bindings have none."""
    input_name: str | None = None
    """Deprecated upstream: name of the input."""


class DaprInput(Wire, frozen=True, kw_only=True):
    """Component that an input reads."""

    name: Name
    """Its name."""
    type: str | None = None
    """Its type."""
    topic: DaprTopic | None = None
    """Its topic."""


class Input(Wire, frozen=True, kw_only=True):
    """A topic or binding that brings events too, or a component that is only read."""

    dapr: DaprInput
    """The component."""


class DaprOutput(Wire, frozen=True, kw_only=True):
    """Where a function sends."""

    name: Name
    """An EventBus of the namespace, or a component."""
    type: str | None = None
    """Component type; looked up where it is not given."""
    topic: DaprTopic | None = None
    """The topic; bindings have none."""
    metadata: dict[str, str] = {}
    """Sent with each message."""
    operation: str | None = None
    """Operation of a binding."""
    output_name: str | None = None
    """Name under which the function addresses it; ``name`` where it is not given."""


class Output(Wire, frozen=True, kw_only=True):
    """A target of ``context.send`` and of returned values."""

    dapr: DaprOutput
    """The component."""


class State(Wire, frozen=True, kw_only=True):
    """A state store."""

    spec: ComponentBody | None = None
    """The component; empty: one that exists."""


class Triggers(Wire, frozen=True, kw_only=True):
    """What runs the function: ``http`` or ``dapr``; ``{}`` where only Triggers and EventSources deliver to it."""

    http: HttpTrigger | None = None
    """Requests."""
    dapr: tuple[DaprTrigger, ...] = ()
    """Topics and bindings."""
    inputs: tuple[Input, ...] = ()
    """Topics and bindings that bring events too, and components that are only read."""


class Hooks(Wire, frozen=True, kw_only=True):
    """Framework plugins around each invocation."""

    pre: tuple[str, ...] = ()
    """Run before."""
    post: tuple[str, ...] = ()
    """Run after."""
    policy: Literal["Append", "Override"] | None = None
    """How they join the global ones."""


class TraceExporter(Wire, frozen=True, kw_only=True):
    """Where spans go."""

    name: str
    """Its name."""
    endpoint: str
    """Its address."""
    headers: str | None = None
    """Sent along."""
    compression: str | None = None
    """Compression."""
    timeout: str | None = None
    """Limit of a request."""
    protocol: str | None = None
    """Protocol."""


class TraceProvider(Wire, frozen=True, kw_only=True):
    """Who makes spans."""

    name: str
    """``opentelemetry`` or ``skywalking``."""
    oap_server: str | None = None
    """SkyWalking's server."""
    exporter: TraceExporter | None = None
    """Where spans go."""


class Tracing(Wire, frozen=True, kw_only=True):
    """Tracing of invocations."""

    enabled: bool
    """Whether spans are made."""
    provider: TraceProvider | None = None
    """Who makes them."""
    tags: dict[str, str] = {}
    """On every span."""
    baggage: dict[str, str] = {}
    """Carried along."""


class Traffic(Wire, frozen=True, kw_only=True):
    """A share of the work."""

    revision: Annotated[str, Meta(pattern=r"^\d{5}$|^latest$")] = "latest"
    """Five-digit revision, or ``latest``: the newest that is ready."""
    weight: Annotated[int, Meta(ge=0, le=100)]
    """Percent of the work; all together are 100."""
    tag: Name | None = None
    """Name under which this share can be asked for."""


class ServingBody(Wire, frozen=True, kw_only=True):
    """How the function runs."""

    triggers: Triggers | None = None
    """What runs the function."""
    handler: Handler | None = None
    """``module:name`` or ``name``; empty: the only decorated function."""
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """Events and requests in flight per replica; the handler kind's own default where it is not given."""
    delivery: Delivery | None = None
    """Delivery of its own events; Triggers have their own."""
    traffic: tuple[Traffic, ...] = ()
    """Shares of revisions; empty: everything to the newest that is ready."""
    resources: ResourceRequirements | None = None
    """Limits of one replica; 1 cpu, 256Mi memory, 256Mi ephemeral-storage and 256 pids where they are not given."""
    outputs: tuple[Output, ...] = ()
    """Where the function sends."""
    bindings: dict[Name, ComponentBody] = {}
    """Binding components owned by the function."""
    pubsub: dict[Name, ComponentBody] = {}
    """Pubsub components owned by the function."""
    states: dict[Name, State | None] = {}
    """State stores."""
    scale_options: ScaleOptions | None = None
    """Bounds and pace of the replica count."""
    params: dict[EnvName, str] = {}
    """Environment variables."""
    params_from: dict[EnvName, ValueFrom] = {}
    """Environment variables whose values stand in Secrets."""
    labels: dict[str, str] = {}
    """Labels of the workload."""
    annotations: dict[str, str] = {}
    """Annotations of the workload."""
    template: PodTemplate | None = None
    """The pod on Kubernetes; environment and limits of its container ``function`` hold everywhere."""
    timeout: Duration | None = None
    """How long a new revision may take to become ready; 1m where it is not given."""
    hooks: Hooks | None = None
    """Framework plugins."""
    tracing: Tracing | None = None
    """Tracing of invocations."""
    workload_type: Literal["Deployment", "StatefulSet", "Job"] | None = None
    """What runs on Kubernetes; Deployment where it is not given."""


class FunctionSpec(Wire, frozen=True, kw_only=True):
    """A function: how to build, serve and scale it."""

    workload_runtime: str | None = None
    """``OCIContainer`` or ``WasmEdge``."""
    version: str | None = None
    """Free text such as ``v1.0.0``; ``latest`` where it is not given."""
    image: str | None = None
    """Image that is built, or run where nothing is built; a bundle needs none."""
    image_credentials: LocalObjectReference | None = None
    """Secret for pushing and pulling it."""
    build: BuildBody | None = None
    """How the source becomes something that runs; empty without an image: a bundle of the YAML's own folder."""
    serving: ServingBody | None = None
    """How the function runs; empty: it is only built."""
    revision_history_limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Revisions kept for rollback; 10 where it is not given."""


class ServingSpec(ServingBody, frozen=True, kw_only=True):
    """One revision of a Function. Immutable except replicas."""

    version: str | None = None
    """Version of the Function."""
    image: str | None = None
    """What it runs, by digest."""
    image_credentials: LocalObjectReference | None = None
    """Secret for pulling it."""
    replicas: Replicas | None = None
    """Replica count; set through /scale by the one authority that scales it."""


class BuilderSpec(BuildBody, frozen=True, kw_only=True):
    """One build of a Function."""

    image: str | None = None
    """Image that is built."""
    image_credentials: LocalObjectReference | None = None
    """Secret for pushing it."""
    state: str | None = None
    """``Cancelled`` stops it."""
