"""The component types that there are, by name. Everything here is pure: the controller asks it too."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from api.errors import Problem
from api.model import Component
from proxy.components import (
    binding_cron,
    binding_http,
    binding_kafka,
    binding_localstorage,
    binding_mqtt3,
    binding_redis,
    configuration_redis,
    pubsub_jetstream,
    pubsub_kafka,
    pubsub_memory,
    pubsub_mqtt3,
    pubsub_redis,
    secret_env,
    secret_file,
    secret_kubernetes,
    state_jetstream,
    state_memory,
    state_redis,
    state_sqlite,
)
from proxy.components.declaration import Declared, check, noted

_MODULES = (
    binding_cron,
    binding_http,
    binding_kafka,
    binding_localstorage,
    binding_mqtt3,
    binding_redis,
    configuration_redis,
    pubsub_jetstream,
    pubsub_kafka,
    pubsub_memory,
    pubsub_mqtt3,
    pubsub_redis,
    secret_env,
    secret_file,
    secret_kubernetes,
    state_jetstream,
    state_memory,
    state_redis,
    state_sqlite,
)
"""In the order of their names."""

TYPES: Mapping[str, Declared] = {one.DECLARED.type: one.DECLARED for one in _MODULES}
"""Type as in ``spec.type`` -> what is known of it."""

LATER: Mapping[str, str] = {
    "bindings.mqtt": "use bindings.mqtt3",
    "bindings.nats": "use pubsub.jetstream",
    "bindings.rabbitmq": "use pubsub.jetstream, pubsub.kafka or pubsub.mqtt3",
    "lock.redis": "use the ETags of a state store",
    "middleware.http.ratelimit": "limits stand in the platform's own settings",
    "pubsub.mqtt": "use pubsub.mqtt3",
    "pubsub.natsstreaming": "use pubsub.jetstream",
    "pubsub.rabbitmq": "use pubsub.jetstream, pubsub.kafka or pubsub.mqtt3",
    "secretstores.hashicorp.vault": "use secretstores.kubernetes or secretstores.local.file",
    "state.postgresql": "use state.sqlite, state.redis or state.jetstream",
}
"""Types of Dapr that this release does not have -> what to use instead, where there is something."""


def find(type_: str, version: str = "v1") -> Declared | None:
    """None: there is no such type, or not in that version. Types are compared without regard to case."""
    found = TYPES.get(type_.lower())
    return found if found is not None and (version or "v1").lower() in found.versions else None


def known(kind: str = "") -> list[str]:
    """Names of all types, or of those of one *kind*: ``state``, ``pubsub``, ``bindings``..."""
    return sorted(name for name, declared in TYPES.items() if kind in {"", declared.kind})


def problems(component: Component) -> tuple[Problem, ...]:
    """Everything wrong with *component* that can be seen without its secrets."""
    declared = TYPES.get(component.type.lower())
    if declared is None:
        return (_unknown_type(component.type),)
    if (component.version or "v1").lower() not in declared.versions:
        has = ", ".join(declared.versions)
        message = f"{declared.type} has no version `{component.version[:40]}`; it has {has}"
        return (Problem(code="E128", path="spec.version", message=message),)
    return tuple(check(declared.metadata, component.metadata))


def notes(component: Component) -> tuple[tuple[str, str], ...]:
    """(metadata name, reason) of what is set on a valid *component* and changes nothing here."""
    declared = find(component.type, component.version)
    return tuple(noted(declared.metadata, component.metadata)) if declared else ()


def _unknown_type(type_: str) -> Problem:
    like = known(type_.partition(".")[0].lower()) or known()
    close = difflib.get_close_matches(type_.lower()[:80], like, n=1, cutoff=0.8)  # the kind alone is alike
    meant = f", did you mean `{close[0]}`?" if close else f"; there is {', '.join(like)}"
    instead = f" ({LATER[type_.lower()]})" if type_.lower() in LATER else ""
    return Problem(code="E128", path="spec.type", message=f"there is no component type `{type_[:80]}`{instead}{meant}")
