"""How a Function scales (core.openfunction.io/v1beta2)."""

from __future__ import annotations

from typing import Literal

from api.kinds.fields import (
    Count,
    Positive,
    Replicas,
    Seconds,
    Wire,
)
from api.kinds.keda import Advanced, Fallback, ScaleTrigger, ScalingStrategy


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
