"""OpenFunction's core resources (core.openfunction.io/v1beta2) with our extensions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from api.kinds.dapr import ComponentBody
from api.kinds.delivery import Delivery
from api.kinds.fields import (
    Count,
    Duration,
    EnvName,
    Handler,
    Host,
    LocalObjectReference,
    Name,
    ObjectReference,
    Port,
    Positive,
    Replicas,
    Seconds,
    Subject,
    ValueFrom,
    Wire,
)
from api.kinds.keda import Advanced, Fallback, ScaleTrigger, ScalingStrategy
from api.kinds.networking import RouteRule
from api.kinds.pod import PodTemplate, ResourceRequirements


class StrategyRef(Wire, frozen=True, kw_only=True):
    """A Shipwright build strategy."""

    name: Name
    """Its name."""
    kind: Literal["BuildStrategy", "ClusterBuildStrategy"] | None = None
    """Its kind; ClusterBuildStrategy where it is not given."""


class ObjectKey(Wire, frozen=True, kw_only=True):
    """One key of a Secret or ConfigMap."""

    name: Name
    """Its name."""
    key: str
    """Key in its data."""
    format: str | None = None
    """How the value is put in, with ``${SECRET_VALUE}`` or ``${CONFIGMAP_VALUE}``."""


class SingleValue(Wire, frozen=True, kw_only=True):
    """A value as written or from elsewhere; exactly one."""

    value: str | None = None
    """The value."""
    config_map_value: ObjectKey | None = None
    """From a ConfigMap."""
    secret_value: ObjectKey | None = None
    """From a Secret."""


class StrategyParam(SingleValue, frozen=True, kw_only=True):
    """A parameter of the strategy."""

    name: str
    """Its name."""
    values: tuple[SingleValue, ...] = ()
    """Its values, where it is a list."""


class Shipwright(Wire, frozen=True, kw_only=True):
    """The Shipwright engine."""

    strategy: StrategyRef | None = None
    """The strategy."""
    params: tuple[StrategyParam, ...] = ()
    """Its parameters."""
    timeout: Duration | None = None
    """Limit of a build run."""


class BundleContainer(Wire, frozen=True, kw_only=True):
    """An image that holds source code."""

    image: str
    """The image."""


class SourceRepository(Wire, frozen=True, kw_only=True):
    """Where the source code stands."""

    url: str | None = None
    """Git URL, or a folder relative to the YAML; empty without bundleContainer: the YAML's own folder."""
    bundle_container: BundleContainer | None = None
    """An image that holds the source."""
    revision: str | None = None
    """Git branch, tag or commit."""
    source_sub_path: str | None = None
    """Folder within the source; absolute for an image."""
    credentials: LocalObjectReference | None = None
    """Secret for reading it."""


class BuildBody(Wire, frozen=True, kw_only=True):
    """How the source becomes something that runs."""

    builder: str | None = None
    """Builder image; empty: a bundle, which needs no image."""
    builder_credentials: LocalObjectReference | None = None
    """Secret for pulling the builder image."""
    shipwright: Shipwright | None = None
    """The Shipwright engine."""
    env: dict[str, str] = {}
    """Environment of the build; FUNC_NAME names the handler."""
    src_repo: SourceRepository | None = None
    """Where the source code stands."""
    dockerfile: str | None = None
    """Path of a Dockerfile."""
    timeout: Duration | None = None
    """Limit of the whole build."""
    successful_builds_history_limit: Count | None = None
    """Builders kept after success; 0 where it is not given."""
    failed_builds_history_limit: Count | None = None
    """Builders kept after failure; 1 where it is not given."""
    builder_max_age: Duration | None = None
    """Age at which finished Builders are removed; 0: never."""


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
    topic: Subject | None = None
    """The topic; bindings have none."""
    input_name: str | None = None
    """Deprecated upstream: name of the input."""


class DaprInput(Wire, frozen=True, kw_only=True):
    """Component that an input reads."""

    name: Name
    """Its name."""
    type: str | None = None
    """Its type."""
    topic: Subject | None = None
    """Its topic."""


class Input(Wire, frozen=True, kw_only=True):
    """Further data that the function may read."""

    dapr: DaprInput
    """The component."""


class DaprOutput(Wire, frozen=True, kw_only=True):
    """Where a function sends."""

    name: Name
    """An EventBus of the namespace, or a component."""
    type: str | None = None
    """Component type; looked up where it is not given."""
    topic: Subject | None = None
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
    """Further data that the function may read."""


class FunctionScaledObject(Wire, frozen=True, kw_only=True):
    """Pace of a Deployment or StatefulSet."""

    polling_interval: Seconds | None = None
    """Seconds between two readings."""
    cooldown_period: Seconds | None = None
    """Idle seconds before the last replica goes; 300 where it is not given."""
    advanced: Advanced | None = None
    """HPA settings."""
    fallback: Fallback | None = None
    """What holds while the scalers cannot be read."""


class FunctionScaledJob(Wire, frozen=True, kw_only=True):
    """Pace of Jobs."""

    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None
    """When the container of a Job is restarted."""
    polling_interval: Seconds | None = None
    """Seconds between two readings."""
    successful_jobs_history_limit: Count | None = None
    """Finished Jobs kept."""
    failed_jobs_history_limit: Count | None = None
    """Failed Jobs kept."""
    scaling_strategy: ScalingStrategy | None = None
    """How many Jobs are started."""


class FunctionHttpScaledObject(Wire, frozen=True, kw_only=True):
    """Pace of a synchronous function."""

    target_pending_requests: Positive | None = None
    """Requests in flight that one replica carries; 100 where it is not given."""
    cooldown_period: Seconds | None = None
    """Idle seconds before the last replica goes; 300 where it is not given."""


class KedaScaleOptions(Wire, frozen=True, kw_only=True):
    """Scaling in KEDA's terms; at most one of the three objects."""

    scaled_object: FunctionScaledObject | None = None
    """For Deployment and StatefulSet."""
    scaled_job: FunctionScaledJob | None = None
    """For Job."""
    http_scaled_object: FunctionHttpScaledObject | None = None
    """For a synchronous function."""
    triggers: tuple[ScaleTrigger, ...] = ()
    """Further scalers; the function's own events and requests always count."""


class ScaleOptions(Wire, frozen=True, kw_only=True):
    """Bounds and pace of the replica count."""

    min_replicas: Replicas | None = None
    """Fewest replicas; 0 where it is not given."""
    max_replicas: Replicas | None = None
    """Most replicas; 10 where it is not given."""
    knative: dict[str, str] = {}
    """Knative's autoscaling annotations; ``container-concurrency`` is understood."""
    keda: KedaScaleOptions | None = None
    """Scaling in KEDA's terms."""


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
