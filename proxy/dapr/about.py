"""What the runtime says of itself to one app: the metadata API."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from api.meta import Key
from api.model import App, Rule, Subscription
from proxy.components.registry import find
from proxy.dapr.caller import Caller, identity
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError

VERSION = "1.14.0-evoke"
MOST = 100
"""Attributes that one app may set."""
LONGEST = 16 << 10
"""Bytes of name and value of one."""


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A component that the app may use."""

    name: str
    type: str
    version: str
    capabilities: tuple[str, ...] = ()


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription of the app; *type* is ``DECLARATIVE``, ``PROGRAMMATIC`` or ``STREAMING``."""

    pubsub: str
    topic: str
    type: str
    metadata: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    dead_letter: str = ""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: str
    extended: dict[str, str]
    components: tuple[Registered, ...]
    subscriptions: tuple[Subscribed, ...]
    protocol: str
    """Of the app: ``http`` or ``grpc``."""
    features: tuple[str, ...] = ()
    """Preview features that are on."""


class About:
    """Attributes that apps set stay in this process until it ends, as in a sidecar."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._extended: dict[Key, dict[str, str]] = {}

    def keep(self, functions: Collection[Key]) -> None:
        """Forget what all others have set."""
        self._extended = {key: mine for key, mine in self._extended.items() if key in functions}

    def metadata(self, caller: Caller) -> Metadata:
        app = caller.app
        return Metadata(
            id=identity(app),
            version=VERSION,
            extended={"platform": "evoke", "daprRuntimeVersion": VERSION, **self._extended.get(app.key, {})},
            components=self._components(app),
            subscriptions=self._subscriptions(app),
            protocol="grpc" if app.protocol == "grpc" else "http",
        )

    def set(self, caller: Caller, key: str, value: str) -> None:
        """Set one attribute; raises DaprError."""
        mine = self._extended.setdefault(caller.app.key, {})
        if not key:
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_MALFORMED_REQUEST", "the attribute has no name")
        if len(key) + len(value) > LONGEST or (key not in mine and len(mine) >= MOST):
            message = f"an app sets at most {MOST} attributes of {LONGEST} bytes each"
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_MALFORMED_REQUEST", message)
        mine[key] = value

    def _components(self, app: App) -> tuple[Registered, ...]:
        found = []
        for one in self._directory.components(app):
            declared = find(one.type, one.version)
            capabilities = declared.features if declared is not None else ()
            version = one.version or "v1"
            found.append(Registered(name=one.name, type=one.type, version=version, capabilities=capabilities))
        named = {one.name for one in found}
        found += [
            Registered(name=bus.key.name, type=f"pubsub.{bus.kind}", version="v1")
            for bus in self._directory.snapshot(app.key.namespace).buses
            if "/" not in bus.key.name and bus.key.name not in named and not self._directory.is_component(bus.key)
        ]
        return tuple(found)

    def _subscriptions(self, app: App) -> tuple[Subscribed, ...]:
        return tuple(
            Subscribed(
                pubsub=one.bus.name.rpartition("/")[2],
                topic=one.subject.removeprefix(self._directory.topic_prefix(one.bus)),
                type=_declared(one),
                metadata=one.metadata,
                rules=one.rules if one.unmatched else (*one.rules, Rule(match="", path=one.path)),
                dead_letter=one.delivery.dead_letter or "",
            )
            for one in self._directory.snapshot(app.key.namespace).subscriptions
            if one.form != "binding" and any(backend.revision.function == app.key.name for backend in one.backends)
        )


def _declared(subscription: Subscription) -> str:
    if subscription.form == "stream":
        return "STREAMING"
    return "PROGRAMMATIC" if subscription.programmatic else "DECLARATIVE"
