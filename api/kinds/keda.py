"""KEDA's resources (keda.sh/v1alpha1), and the parts of them that a Function embeds."""

from __future__ import annotations

from typing import Any, Literal

from api.kinds.fields import Count, Name, Percent, Replicas, Seconds, Wire


class ScalingPolicy(Wire, frozen=True, kw_only=True):
    """How much one step may change."""

    type: Literal["Pods", "Percent"]
    """Unit of the value."""
    value: Count
    """Largest change within the period."""
    period_seconds: Seconds
    """Length of the period."""


class ScalingRules(Wire, frozen=True, kw_only=True):
    """Pace of one direction."""

    stabilization_window_seconds: Seconds | None = None
    """How far back the most conservative recommendation is taken from."""
    select_policy: Literal["Max", "Min", "Disabled"] | None = None
    """Which of the policies decides."""
    policies: tuple[ScalingPolicy, ...] = ()
    """The steps allowed."""
    tolerance: str | None = None
    """Relative deviation that is ignored."""


class Behavior(Wire, frozen=True, kw_only=True):
    """Pace of a HorizontalPodAutoscaler (autoscaling/v2)."""

    scale_up: ScalingRules | None = None
    """Pace of growth."""
    scale_down: ScalingRules | None = None
    """Pace of shrinking."""


class HpaConfig(Wire, frozen=True, kw_only=True):
    """Settings of the HorizontalPodAutoscaler that KEDA makes."""

    name: Name | None = None
    """Name of the object."""
    behavior: Behavior | None = None
    """Pace of both directions."""


class Advanced(Wire, frozen=True, kw_only=True):
    """KEDA's AdvancedConfig."""

    restore_to_original_replica_count: bool | None = None
    """Whether deleting the scaler restores the count of before."""
    horizontal_pod_autoscaler_config: HpaConfig | None = None
    """Settings of the HorizontalPodAutoscaler."""
    scaling_modifiers: dict[str, Any] | None = None
    """KEDA's formula over several triggers."""


class Fallback(Wire, frozen=True, kw_only=True):
    """What holds while the scalers cannot be read."""

    failure_threshold: Count
    """Failed readings in a row before it holds."""
    replicas: Replicas
    """Replica count while it holds."""
    behavior: str | None = None
    """KEDA's variant: ``static``, ``currentReplicas``..."""


class AuthenticationRef(Wire, frozen=True, kw_only=True):
    """A TriggerAuthentication."""

    name: Name
    """Its name."""
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] | None = None
    """Its kind."""


class ScaleTrigger(Wire, frozen=True, kw_only=True):
    """One scaler as KEDA's ``triggers`` list has it."""

    type: str
    """KEDA's scaler type."""
    name: str | None = None
    """Name within the list."""
    metadata: dict[str, str] = {}
    """Settings of the scaler type."""
    authentication_ref: AuthenticationRef | None = None
    """Where its credentials stand."""
    metric_type: Literal["AverageValue", "Value", "Utilization"] | None = None
    """How the metric is compared."""
    use_cached_metrics: bool | None = None
    """Whether the HPA reads the value of the last poll."""


class ScalingStrategy(Wire, frozen=True, kw_only=True):
    """How many Jobs a ScaledJob starts."""

    strategy: Literal["default", "custom", "accurate", "eager"] | None = None
    """Formula."""
    custom_scaling_queue_length_deduction: Count | None = None
    """``custom``: taken off the queue length."""
    custom_scaling_running_job_percentage: Percent | None = None
    """``custom``: share of the running Jobs that is taken off, as ``50%``."""
    multiple_scalers_calculation: Literal["max", "min", "avg", "sum"] | None = None
    """How several scalers are joined."""
    pending_pod_conditions: tuple[str, ...] = ()
    """``accurate``: conditions of a pod that make it no longer pending."""


class ScaleTarget(Wire, frozen=True, kw_only=True):
    """What is scaled."""

    name: Name
    """Its name."""
    api_version: str | None = None
    """Its group and version."""
    kind: str | None = None
    """Its kind."""
    env_source_container_name: str | None = None
    """Container whose environment scalers may refer to."""


class ScaledObjectSpec(Wire, frozen=True, kw_only=True):
    """Scales a target between bounds on what its triggers read."""

    scale_target_ref: ScaleTarget
    """What is scaled."""
    triggers: tuple[ScaleTrigger, ...]
    """The scalers."""
    polling_interval: Seconds | None = None
    """Seconds between two readings."""
    cooldown_period: Seconds | None = None
    """Idle seconds before zero."""
    initial_cooldown_period: Seconds | None = None
    """Seconds after creation before the first time to zero."""
    idle_replica_count: Replicas | None = None
    """Count while no trigger is active."""
    min_replica_count: Replicas | None = None
    """Fewest replicas."""
    max_replica_count: Replicas | None = None
    """Most replicas."""
    advanced: Advanced | None = None
    """HPA settings."""
    fallback: Fallback | None = None
    """What holds while blind."""


class ScaledJobSpec(Wire, frozen=True, kw_only=True):
    """Starts Jobs on what its triggers read."""

    job_target_ref: dict[str, Any]
    """The Job's template."""
    triggers: tuple[ScaleTrigger, ...]
    """The scalers."""
    polling_interval: Seconds | None = None
    """Seconds between two readings."""
    successful_jobs_history_limit: Count | None = None
    """Finished Jobs kept."""
    failed_jobs_history_limit: Count | None = None
    """Failed Jobs kept."""
    min_replica_count: Replicas | None = None
    """Fewest Jobs."""
    max_replica_count: Replicas | None = None
    """Most Jobs."""
    scaling_strategy: ScalingStrategy | None = None
    """How many Jobs are started."""


class SecretTarget(Wire, frozen=True, kw_only=True):
    """A credential taken from a Secret."""

    parameter: str
    """Parameter of the scaler."""
    name: Name
    """Name of the Secret."""
    key: str
    """Key in its data."""


class EnvTarget(Wire, frozen=True, kw_only=True):
    """A credential taken from the target's environment."""

    parameter: str
    """Parameter of the scaler."""
    name: str
    """Name of the variable."""
    container_name: str | None = None
    """Container that has it."""


class TriggerAuthenticationSpec(Wire, frozen=True, kw_only=True):
    """Credentials of scalers."""

    secret_target_ref: tuple[SecretTarget, ...] = ()
    """From Secrets."""
    env: tuple[EnvTarget, ...] = ()
    """From the target's environment."""
    pod_identity: dict[str, Any] | None = None
    """From the cloud's identity of the pod."""
