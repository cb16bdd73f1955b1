"""``secretstores.kubernetes``: the Secret resources of the app's namespace; on one machine those of the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from api.errors import EvokeError
from api.model import Component
from proxy.components.declaration import ComponentMetadata, Declared
from proxy.components.protocols import ComponentFailed, MetadataIllegal, SecretMissing
from proxy.components.surroundings import Keeper, Surroundings


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """Reads Secret resources; every pair of a Secret is handed out."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({
        "kubeconfigPath": "the platform reads Secrets itself",
        "defaultNamespace": "an app reads the Secrets of its own namespace",
    })  # fmt: skip


class ClusterSecrets:
    def __init__(self, namespace: str, keeper: Keeper | None) -> None:
        self._namespace, self._keeper = namespace, keeper

    async def open(self) -> str:
        return f"{len(await self._read())} Secrets of namespace {self._namespace}"

    async def close(self) -> None:
        """Nothing is kept."""

    async def secret(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        self._check(metadata)
        found = (await self._read()).get(name)
        if found is None:
            raise SecretMissing(f"there is no Secret {name[:80]} in namespace {self._namespace}")
        return dict(found)

    async def secrets(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        self._check(metadata)
        return {name: dict(pairs) for name, pairs in (await self._read()).items()}

    def _check(self, metadata: Mapping[str, str]) -> None:
        """Dapr lets a request name any namespace; an app of ours has one."""
        asked = next((value for name, value in metadata.items() if name.lower() == "namespace"), self._namespace)
        if asked != self._namespace:
            raise MetadataIllegal(f"Secrets of namespace {asked[:80]} are not for apps of {self._namespace}")

    async def _read(self) -> Mapping[str, Mapping[str, str]]:
        if self._keeper is None:
            raise ComponentFailed("this platform has no Secrets to read", reason="Missing")
        try:
            return await asyncio.to_thread(self._keeper, self._namespace)
        except (EvokeError, OSError) as error:
            raise ComponentFailed(f"the Secrets of {self._namespace} cannot be read: {error}") from error


def open_store(component: Component, _metadata: Metadata, around: Surroundings) -> ClusterSecrets:
    return ClusterSecrets(component.key.namespace, around.keeper)


DECLARED = Declared(
    type="secretstores.kubernetes",
    metadata=Metadata,
    open=open_store,
    features=("MULTIPLE_KEY_VALUES_PER_SECRET",),
)
