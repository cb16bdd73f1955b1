"""Bounds and pace of the replica count, out of OpenFunction's three dialects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from api.kinds.scale import KedaScaleOptions, ScaleOptions
from api.scaling import ScalePolicy, Scaler

_DEFAULT = ScalePolicy()
_KNATIVE = "autoscaling.knative.dev/"


def read_scale(given: ScaleOptions | None) -> ScalePolicy:
    """Native mode; minReplicas wins over Knative's annotation, which wins over the default."""
    if given is None:
        return _DEFAULT
    low = _first(given.min_replicas, _knative(given, "min-scale", "minScale"), _DEFAULT.min)
    high = _first(given.max_replicas, _knative(given, "max-scale", "maxScale"), max(_DEFAULT.max, low))
    keda = given.keda or KedaScaleOptions()
    scaled = keda.scaled_object
    return ScalePolicy(
        min=min(low, high),
        max=high,
        initial=min(low, high),
        cooldown=_cooldown(keda),
        scalers=tuple(
            Scaler(
                name=trigger.name or f"{trigger.type}-{index}",
                kind=trigger.type,
                metadata=dict(sorted(trigger.metadata.items())),
                auth=trigger.authentication_ref.name if trigger.authentication_ref else None,
            )
            for index, trigger in enumerate(keda.triggers)
        ),
        behavior=_behavior(keda),
        fallback=plain(scaled.fallback) if scaled and scaled.fallback else None,
    )


def read_concurrency(given: ScaleOptions | None) -> int:
    """Knative's container-concurrency; 0: not limited there."""
    return int(given.knative.get("container-concurrency", "0")) if given else 0


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """*struct* as JSON has it, without what is empty."""
    return {key: _pruned(value) for key, value in msgspec.to_builtins(struct).items() if not _empty(value)}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(inner) for key, inner in value.items() if not _empty(inner)}
    if isinstance(value, list | tuple):
        return [_pruned(inner) for inner in value]
    return value


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [], ())


def _cooldown(keda: KedaScaleOptions) -> timedelta:
    given = keda.scaled_object or keda.http_scaled_object
    seconds = given.cooldown_period if given else None
    return _DEFAULT.cooldown if seconds is None else timedelta(seconds=seconds)


def _behavior(keda: KedaScaleOptions) -> dict[str, Any] | None:
    advanced = keda.scaled_object.advanced if keda.scaled_object else None
    config = advanced.horizontal_pod_autoscaler_config if advanced else None
    return plain(config.behavior) if config and config.behavior else None


def _knative(given: ScaleOptions, *names: str) -> int | None:
    for name in names:
        text = given.knative.get(name) or given.knative.get(_KNATIVE + name) or ""
        if text.isascii() and text.isdigit() and len(text) <= 4:
            return int(text)
    return None


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
