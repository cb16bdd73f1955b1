"""The delivery promise with every default filled."""

from __future__ import annotations

from datetime import timedelta

from api import durations
from api.delivery import Backoff, DeliveryPolicy
from api.kinds import delivery as wire

_DEFAULT = DeliveryPolicy()


def read_delivery(given: wire.Delivery | None, dead_letter: str | None = None) -> DeliveryPolicy:
    """*dead_letter* is the topic that a Trigger names outside of ``delivery``."""
    if given is None:
        return DeliveryPolicy(dead_letter=dead_letter)
    return DeliveryPolicy(
        max_attempts=given.retry or _DEFAULT.max_attempts,
        backoff=_backoff(given.backoff),
        timeout=duration(given.timeout, _DEFAULT.timeout),
        max_age=durations.parse(given.max_age) if given.max_age is not None else None,
        ordering=given.ordering or _DEFAULT.ordering,
        dead_letter=given.dead_letter or dead_letter,
    )


def _backoff(given: wire.Backoff | None) -> Backoff:
    default = _DEFAULT.backoff
    if given is None:
        return default
    initial = duration(given.initial, default.initial)
    return Backoff(
        initial=initial,
        factor=default.factor if given.factor is None else given.factor,
        cap=max(duration(given.cap, default.cap), initial) if given.cap is None else durations.parse(given.cap),
        jitter=default.jitter if given.jitter is None else given.jitter,
    )


def duration(given: str | None, default: timedelta) -> timedelta:
    return default if given is None else durations.parse(given)
