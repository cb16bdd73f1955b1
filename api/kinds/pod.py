"""The allowlisted part of a PodSpec: what a Function's template may hold.

Everything that leaves the container, or takes another identity, is refused by name (E121).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from api.kinds.fields import Count, EnvName, LocalObjectReference, Name, Port, Quantity, Seconds, Wire
from api.kinds.volumes import Volume

_HOST = "it would reach into the node"
_IDENTITY = "a function runs under its namespace's own identity"
_PLACE = "the platform decides where a replica runs"


class KeySelector(Wire, frozen=True, kw_only=True):
    """One key of a Secret or ConfigMap of the same namespace."""

    refused: ClassVar[Mapping[str, str]] = {"namespace": "references stay in their own namespace"}

    name: Name
    """Its name."""
    key: str
    """Key in its data."""
    optional: bool | None = None
    """Whether it may be missing."""


class FieldSelector(Wire, frozen=True, kw_only=True):
    """A field of the pod."""

    field_path: str
    """Such as ``metadata.name``."""
    api_version: str | None = None
    """``v1``."""


class EnvSource(Wire, frozen=True, kw_only=True):
    """Where a variable's value stands; exactly one."""

    secret_key_ref: KeySelector | None = None
    """In a Secret."""
    config_map_key_ref: KeySelector | None = None
    """In a ConfigMap."""
    field_ref: FieldSelector | None = None
    """In the pod."""
    resource_field_ref: dict[str, Any] | None = None
    """In the container's limits."""


class EnvVar(Wire, frozen=True, kw_only=True):
    """An environment variable."""

    name: EnvName
    """Its name."""
    value: str | None = None
    """Its value."""
    value_from: EnvSource | None = None
    """Where its value stands."""


class EnvFrom(Wire, frozen=True, kw_only=True):
    """Variables from all keys of an object."""

    prefix: str | None = None
    """Put before each name."""
    secret_ref: LocalObjectReference | None = None
    """A Secret."""
    config_map_ref: LocalObjectReference | None = None
    """A ConfigMap."""


class ContainerPort(Wire, frozen=True, kw_only=True):
    """A port of the container."""

    container_port: Port
    """Its number."""
    name: Name | None = None
    """Its name."""
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    """Its protocol."""


class ResourceRequirements(Wire, frozen=True, kw_only=True):
    """Resources of a container; keys ``cpu``, ``memory``, ``ephemeral-storage``, and ``pids`` for a function."""

    limits: dict[str, Quantity] = {}
    """What it may use at most."""
    requests: dict[str, Quantity] = {}
    """What it is placed by."""


class VolumeMount(Wire, frozen=True, kw_only=True):
    """A volume in the container's file system."""

    name: Name
    """Name of the volume."""
    mount_path: str
    """Where it appears."""
    sub_path: str | None = None
    """Part of the volume."""
    read_only: bool | None = None
    """Whether it may be written."""


class Capabilities(Wire, frozen=True, kw_only=True):
    """Linux capabilities; they may only be dropped."""

    refused: ClassVar[Mapping[str, str]] = {"add": "capabilities may only be dropped"}

    drop: tuple[str, ...] = ()
    """What the container gives up."""


class SecurityContext(Wire, frozen=True, kw_only=True):
    """Security of a container; it may only become stricter."""

    refused: ClassVar[Mapping[str, str]] = {
        "privileged": _HOST,
        "procMount": _HOST,
        "seLinuxOptions": _HOST,
        "windowsOptions": _HOST,
        "appArmorProfile": _HOST,
        "seccompProfile": "the platform's profile holds",
    }

    run_as_user: Count | None = None
    """User id."""
    run_as_group: Count | None = None
    """Group id."""
    run_as_non_root: bool | None = None
    """Whether root is refused."""
    read_only_root_filesystem: bool | None = None
    """Whether the image is read-only."""
    allow_privilege_escalation: Literal[False] | None = None
    """Only ``false`` may stand here."""
    capabilities: Capabilities | None = None
    """Linux capabilities."""


class Container(Wire, frozen=True, kw_only=True):
    """A container; the one named ``function`` receives image, port and environment of the function."""

    refused: ClassVar[Mapping[str, str]] = {
        "volumeDevices": _HOST,
        "stdin": "nobody is there to type",
        "stdinOnce": "nobody is there to type",
        "tty": "nobody is there to type",
        "resizePolicy": _PLACE,
        "restartPolicy": "sidecars start with the function",
        "terminationMessagePath": "the platform reads the logs",
        "terminationMessagePolicy": "the platform reads the logs",
    }

    name: Name
    """Its name."""
    image: str | None = None
    """Its image; not for the container ``function``."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled."""
    command: tuple[str, ...] = ()
    """Entry point."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    working_dir: str | None = None
    """Working directory."""
    ports: tuple[ContainerPort, ...] = ()
    """Ports."""
    env: tuple[EnvVar, ...] = ()
    """Environment variables."""
    env_from: tuple[EnvFrom, ...] = ()
    """Environment variables from whole objects."""
    resources: ResourceRequirements | None = None
    """Limits and requests."""
    volume_mounts: tuple[VolumeMount, ...] = ()
    """Volumes."""
    liveness_probe: dict[str, Any] | None = None
    """Restarted when it fails."""
    readiness_probe: dict[str, Any] | None = None
    """Gets work while it holds."""
    startup_probe: dict[str, Any] | None = None
    """Must hold first."""
    lifecycle: dict[str, Any] | None = None
    """Hooks at start and stop."""
    security_context: SecurityContext | None = None
    """Security."""


class Toleration(Wire, frozen=True, kw_only=True):
    """A taint that is tolerated."""

    key: str | None = None
    """Its key."""
    operator: Literal["Exists", "Equal"] | None = None
    """How it is compared."""
    value: str | None = None
    """Its value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Its effect."""
    toleration_seconds: Seconds | None = None
    """For how long."""


class PodSecurityContext(Wire, frozen=True, kw_only=True):
    """Security of the pod; it may only become stricter."""

    refused: ClassVar[Mapping[str, str]] = {
        "sysctls": _HOST,
        "seLinuxOptions": _HOST,
        "windowsOptions": _HOST,
        "appArmorProfile": _HOST,
        "seccompProfile": "the platform's profile holds",
    }

    run_as_user: Count | None = None
    """User id."""
    run_as_group: Count | None = None
    """Group id."""
    run_as_non_root: bool | None = None
    """Whether root is refused."""
    fs_group: Count | None = None
    """Group of volumes."""
    supplemental_groups: tuple[Count, ...] = ()
    """Further groups."""


class PodTemplate(Wire, frozen=True, kw_only=True):
    """The allowlisted part of a PodSpec."""

    refused: ClassVar[Mapping[str, str]] = (
        dict.fromkeys(("hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases", "shareProcessNamespace"), _HOST)
        | dict.fromkeys(("serviceAccountName", "serviceAccount", "automountServiceAccountToken"), _IDENTITY)
        | dict.fromkeys(("nodeName", "schedulerName", "hostname", "subdomain", "setHostnameAsFQDN", "os"), _PLACE)
        | dict.fromkeys(("priority", "preemptionPolicy", "overhead", "schedulingGates", "resourceClaims"), _PLACE)
        | {"ephemeralContainers": "they belong to a running pod", "activeDeadlineSeconds": "use serving.timeout"}
    )

    containers: tuple[Container, ...] = ()
    """Containers; the function's own is named ``function`` and added where it is missing."""
    init_containers: tuple[Container, ...] = ()
    """Containers that run before."""
    volumes: tuple[Volume, ...] = ()
    """Volumes."""
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    """Secrets for pulling images."""
    restart_policy: Literal["Always", "OnFailure", "Never"] | None = None
    """When containers are restarted."""
    termination_grace_period_seconds: Seconds | None = None
    """How long a replica may take to stop."""
    node_selector: dict[str, str] = {}
    """Labels of nodes."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that are tolerated."""
    affinity: dict[str, Any] | None = None
    """Nearness to nodes and pods."""
    topology_spread_constraints: tuple[dict[str, Any], ...] = ()
    """Spreading over zones."""
    priority_class_name: Name | None = None
    """Priority."""
    runtime_class_name: Name | None = None
    """Runtime, such as gVisor's."""
    dns_policy: str | None = None
    """How names are resolved."""
    dns_config: dict[str, Any] | None = None
    """Details of that."""
    enable_service_links: bool | None = None
    """Whether Services appear as environment variables."""
    readiness_gates: tuple[dict[str, Any], ...] = ()
    """Conditions that readiness waits for."""
    security_context: PodSecurityContext | None = None
    """Security."""


FUNCTION_CONTAINER = "function"
