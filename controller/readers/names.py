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


def streamed(function: Key, bus: str, topic: str) -> Key:
    """Subscription of the streams that a function's app opens for a topic."""
    return Key(function.namespace, f"stream.{function.name}.{bus}.{token(topic)}")


def bound(function: Key, component: str) -> Key:
    """Subscription of what an input binding brings a function."""
    return Key(function.namespace, f"binding.{function.name}.{component}")


def bound_subject(function: Key, component: str) -> str:
    """Where that waits for the function."""
    return f"evoke.binding.{function.namespace}.{function.name}.{component}"


def invocations(function: Key) -> Key:
    """Subscription of a function's asynchronous calls."""
    return Key(function.namespace, f"async.{function.name}")


def sunk(source: Key, event: str, receiver: str) -> Key:
    """Subscription of an EventSource's sink."""
    return Key(source.namespace, f"source.{source.name}.{event}.{receiver}")


def triggered(trigger: Key, receiver: str, given: str, nth: int) -> Key:
    """Subscription of a Trigger's subscriber and input; *nth* counts those with the same receiver, from 0."""
    return Key(trigger.namespace, f"trigger.{trigger.name}.{receiver}.{given}{again(nth)}")


def again(nth: int) -> str:
    """What tells the second and further ones of a name apart; *nth* counts from 0."""
    return f".{nth + 1}" if nth else ""


def address(url: str) -> str:
    """Receiver that is an address; its text, which may hold a token, stays out of names."""
    return f"uri-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def join(trigger: Key, subscriber: str) -> Key:
    """Join of a Trigger's *subscriber*, which is named by its first receiver."""
    return Key(trigger.namespace, f"{trigger.name}.{subscriber}")


def joined_subject(trigger: Key, subscriber: str) -> str:
    """Where a Join puts what it made."""
    return f"evoke.joined.{trigger.namespace}.{trigger.name}.{subscriber}"


def dead_subject(trigger: Key, subscriber: str) -> str:
    """Where the dead letters of a Trigger's subscriber wait for its deadLetterSink."""
    return f"evoke.dead.{trigger.namespace}.{trigger.name}.{subscriber}"


def part(trigger: Key, kind: str, subscriber: str, name: str) -> Key:
    """Subscription inside a subscriber: *kind* is ``join``, ``joined`` or ``dead``, *name* an input or receiver."""
    return Key(trigger.namespace, f"{kind}.{trigger.name}.{subscriber}.{name}")
