"""What the runtime needs of the components of this process, and how their errors become Dapr's."""

from __future__ import annotations

from typing import Protocol

from api.model import App
from proxy.components.protocols import ConfigurationStore, OutputBinding, SecretStore, StateStore


class Components(Protocol):
    """Opened components by the name that an app uses; each raises ComponentMissing, ScopeDenied, ComponentFailed."""

    def state(self, app: App, name: str) -> StateStore: ...

    def binding(self, app: App, name: str) -> OutputBinding: ...

    def secrets(self, app: App, name: str) -> SecretStore: ...

    def configuration(self, app: App, name: str) -> ConfigurationStore: ...
