"""Trigger (events.openfunction.io/v1alpha1) with our extensions."""

from __future__ import annotations

import msgspec

from api.kinds.buses import LogLevel
from api.kinds.delivery import Delivery
from api.kinds.fields import (
    Condition,
    Duration,
    Name,
    Sink,
    Subject,
    Wire,
)


class TriggerInput(Wire, frozen=True, kw_only=True):
    """One event of an EventSource."""

    namespace: Name | None = None
    """Only the Trigger's own namespace may stand here."""
    event_source: Name
    """Name of the EventSource."""
    event: Name
    """Name of the event in it."""


class EventFilter(Wire, frozen=True, kw_only=True):
    """A CloudEvents subscription filter; exactly one dialect."""

    exact: dict[str, str] | None = None
    """Attributes that must be equal."""
    prefix: dict[str, str] | None = None
    """Attributes that must begin so."""
    suffix: dict[str, str] | None = None
    """Attributes that must end so."""
    all: tuple[EventFilter, ...] | None = None
    """Filters that must all match."""
    any: tuple[EventFilter, ...] | None = None
    """Filters of which one must match."""
    not_: EventFilter | None = msgspec.field(default=None, name="not")
    """A filter that must not match."""
    sql: str | None = None
    """CloudEvents SQL."""
    expression: Condition | None = None
    """Ours: a condition over attributes and data."""


class Correlation(Wire, frozen=True, kw_only=True):
    """How events of several inputs find each other."""

    window: Duration = "60s"
    """How long an event waits for the others, at most 24h."""
    key: str | None = None
    """Attribute or ``data`` path whose value they share, such as ``data.vehicle``; empty: any event with any other."""


class Subscriber(Wire, frozen=True, kw_only=True):
    """Who gets which events."""

    condition: Condition | None = None
    """Input names with ``||``, ``&&`` and ``!``, or a condition over attributes and data such as
    ``event.data.battery < 20``; empty: every event of every input."""
    filter: EventFilter | None = None
    """CloudEvents filter; must hold beside the condition."""
    correlation: Correlation | None = None
    """For conditions over several inputs at once, such as ``a && b``: then one event whose data holds them all is
    sent. Without it, as upstream, the window is 60s and the newest event is sent as it is."""
    sink: Sink | None = None
    """Function or address that gets the events."""
    dead_letter_sink: Sink | None = None
    """Function or address that gets what failed for good."""
    topic: Subject | None = None
    """Subject of the bus on which matching events are published."""
    dead_letter_topic: Subject | None = None
    """Subject of the bus on which what failed for good is published too."""
    delivery: Delivery | None = None
    """Attempts, time limits and order."""


class TriggerSpec(Wire, frozen=True, kw_only=True):
    """A filtered subscription: EventBus to functions, addresses and topics."""

    event_bus: Name = "default"
    """Name of the EventBus."""
    inputs: dict[str, TriggerInput]
    """Events by the name they have in conditions."""
    subscribers: tuple[Subscriber, ...]
    """Who gets which events."""
    log_level: LogLevel | None = None
    """Upstream's verbosity."""
