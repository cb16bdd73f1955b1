"""Secrets, within what an app's Configuration lets it read."""

from __future__ import annotations

from collections.abc import Mapping

from api.model import App, SecretScope
from proxy.components.components import Components
from proxy.components.protocols import ComponentError, ComponentMissing, ScopeDenied, SecretMissing, SecretStore
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError


class Secrets:
    """The secrets API."""

    def __init__(self, components: Components) -> None:
        self._components = components

    async def secret(self, caller: Caller, store: str, key: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Key and value pairs of one secret; empty: there is no such secret."""
        opened = self._store(caller, store)
        if not readable(caller.app, store, key):
            message = f'access denied by policy to get "{key}" from "{store}"'
            raise DaprError(403, "PERMISSION_DENIED", "ERR_PERMISSION_DENIED", message)
        try:
            return await opened.secret(key, metadata)
        except SecretMissing:
            return {}
        except ComponentError as error:
            message = f"failed getting secret with key {key} from secret store {store}: {error}"
            raise DaprError(500, "INTERNAL", "ERR_SECRET_GET", message) from error

    async def secrets(self, caller: Caller, store: str, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Every secret of the store that the app may read."""
        opened = self._store(caller, store)
        try:
            found = await opened.secrets(metadata)
        except ComponentError as error:
            message = f"failed getting secrets from secret store {store}: {error}"
            raise DaprError(500, "INTERNAL", "ERR_SECRET_GET", message) from error
        return {name: pairs for name, pairs in found.items() if readable(caller.app, store, name)}

    def _store(self, caller: Caller, store: str) -> SecretStore:
        try:
            return self._components.secrets(caller.app, store)
        except (ComponentMissing, ScopeDenied) as error:
            message = f"failed finding secret store with key {store}: {error}"
            raise DaprError(401, "INVALID_ARGUMENT", "ERR_SECRET_STORE_NOT_FOUND", message) from error
        except ComponentError as error:
            message = f"secret store {store} is not configured: {error}"
            raise DaprError(500, "FAILED_PRECONDITION", "ERR_SECRET_STORES_NOT_CONFIGURED", message) from error


def readable(app: App, store: str, name: str) -> bool:
    """Whether *app* may read secret *name* of *store* (Configuration, spec.secrets.scopes): a list of allowed ones is
    all that it may, else what is denied by name or by default it may not."""
    scope = next((one for one in app.secrets if one.store == store), SecretScope(store=store))
    if scope.allowed:
        return name in scope.allowed
    return name not in scope.denied and scope.default == "allow"
