"""Names that readers make: subjects of the bus, keys and groups of subscriptions."""

from __future__ import annotations

import hashlib
import re

from api.meta import Key

DEFAULT_BUS = "default"
INVOCATION_PATH = "/__evoke/invocation"
"""Where a replica takes an asynchronous invocation."""

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def token(text: str) -> str:
    """*text* where it can stand between dots as it is, else its readable part and a hash."""
    if _SAFE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:32].strip("-")
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def event_subject(namespace: str, source: str, event: str) -> str:
    """Where an EventSource puts an event."""
    return f"{namespace}.{source}.{event}"


def invocation_subject(function: Key) -> str:
    """Where asynchronous HTTP calls of a function wait."""
    return f"evoke.async.{function.namespace}.{function.name}"


def own(function: Key, bus: str, topic: str) -> Key:
    """Subscription of a function's own dapr trigger; also its group, so edits of anything else keep the progress."""
    return Key(function.namespace, f"function.{function.name}.{bus}.{token(topic)}")


def invocations(function: Key) -> Key:
    """Subscription of a function's asynchronous calls."""
    return Key(function.namespace, f"async.{function.name}")


def sunk(source: Key, event: str, function: str) -> Key:
    """Subscription of an EventSource's sink."""
    return Key(source.namespace, f"source.{source.name}.{event}.{function}")


def triggered(trigger: Key, function: str, given: str, nth: int) -> Key:
    """Subscription of a Trigger's subscriber and input; *nth* counts those with the same function, from 0."""
    again = f".{nth + 1}" if nth else ""
    return Key(trigger.namespace, f"trigger.{trigger.name}.{function}.{given}{again}")
