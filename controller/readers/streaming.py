"""NATS Streaming, whose server had its last release in 2023, as options of the platform's own JetStream; pure.

Of its subscription options those two have a meaning here that say where a new subscriber starts and how much it may
have in flight. Where several starts are given, the first of Dapr's order counts, as it did for OpenFunction.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from api import durations
from api.kinds.buses import NatsStreaming
from api.model import Bus, Option, Subscription

IN_FLIGHT = "maxInFlight"


def read_options(given: NatsStreaming) -> dict[str, Option]:
    """``start`` (see eventbus/start.py) and ``maxInFlight``."""
    options: dict[str, Option] = {}
    if given.max_in_flight:
        options[IN_FLIGHT] = str(given.max_in_flight)
    if start := _start(given):
        options["start"] = start
    return options


def _start(given: NatsStreaming) -> str:
    said = (
        (given.start_at_sequence, f"sequence:{given.start_at_sequence}"),
        (given.start_with_last_received, "last"),
        (given.deliver_all, "all"),
        (given.deliver_new, "new"),
        (given.start_at_time_delta, _ago(given.start_at_time_delta or "")),
        (given.start_at_time, _time(given.start_at_time or "")),
    )
    return next((start for is_set, start in said if is_set), "")


def _ago(text: str) -> str:
    try:
        return f"ago:{durations.parse(text).total_seconds():g}"
    except ValueError:
        return ""


def _time(text: str) -> str:
    """RFC 3339, or seconds since 1970; anything else is in a layout of Go's that is not read."""
    if text.isdigit():
        return f"time:{text}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return f"time:{(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp():.6f}"


def bounded(subscription: Subscription, bus: Bus | None) -> Subscription:
    """*subscription* with what its bus lets it have in flight."""
    limit = bus.options.get(IN_FLIGHT) if bus is not None else None
    if not isinstance(limit, str):
        return subscription
    return msgspec.structs.replace(subscription, in_flight=min(subscription.in_flight, int(limit)))
