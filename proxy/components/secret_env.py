"""``secretstores.local.env``: variables of the proxy's environment, and only those that the component names.

The environment of a proxy shared by all functions holds what is none of theirs. So a component without a prefix and
without a list hands out nothing, where daprd hands out everything but its own. A proxy that somebody has started for
apps of their own (`evoke dapr run`) does as daprd.
"""

from __future__ import annotations

from collections.abc import Mapping

from api.model import Component
from proxy.components.declaration import ComponentMetadata, Declared
from proxy.components.protocols import SecretMissing
from proxy.components.surroundings import Surroundings

OURS = ("EVOKE_", "DAPR_", "APP_API_TOKEN")
"""Beginnings of names that are never handed out: the platform's own, tokens among them."""


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """Reads secrets from environment variables of the proxy; those of EVOKE_ and DAPR_ stay hidden."""

    prefix: str = ""
    """Variables that begin so are secrets, under the rest of their name."""
    allowed: tuple[str, ...] = ()
    """Ours: names of variables that are secrets without a prefix."""


class EnvironmentSecrets:
    def __init__(self, metadata: Metadata, environment: Mapping[str, str], *, everything: bool) -> None:
        """*everything*: without prefix and list all variables are secrets, but for the platform's."""
        self._prefix, self._allowed, self._environment = metadata.prefix, frozenset(metadata.allowed), environment
        self._everything = everything and not metadata.prefix and not metadata.allowed

    async def open(self) -> str:
        if not (self._prefix or self._allowed or self._everything):
            return "nothing: it has neither prefix nor allowed"
        return f"{len(self._found())} variables"

    async def close(self) -> None:
        """Nothing is kept."""

    async def secret(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002 - none is read
        found = self._found()
        if name not in found:
            raise SecretMissing(f"there is no variable {self._prefix}{name[:80]} that may be read")
        return {name: found[name]}

    async def secrets(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:  # noqa: ARG002 - none is read
        return {name: {name: value} for name, value in self._found().items()}

    def _found(self) -> dict[str, str]:
        return {
            name.removeprefix(self._prefix): value
            for name, value in self._environment.items()
            if not name.upper().startswith(OURS) and (self._everything or name in self._allowed or self._begins(name))
        }

    def _begins(self, name: str) -> bool:
        return bool(self._prefix) and name.startswith(self._prefix) and name != self._prefix


def open_store(_component: Component, metadata: Metadata, around: Surroundings) -> EnvironmentSecrets:
    return EnvironmentSecrets(metadata, around.environment, everything=not around.shared)


DECLARED = Declared(type="secretstores.local.env", metadata=Metadata, open=open_store)
