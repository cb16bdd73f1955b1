"""The Dapr API without a transport: what HTTP and gRPC both call. Every method raises DaprError only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from api.meta import Key
from api.model import App, Snapshot
from api.platform import Platform
from proxy.buses import Buses
from proxy.components.protocols import Value
from proxy.dapr.bindings import Bindings
from proxy.dapr.caller import Caller
from proxy.dapr.configurations import Configurations, Watch
from proxy.dapr.directory import Directory
from proxy.dapr.errors import unauthenticated
from proxy.dapr.parts import Components
from proxy.dapr.publishing import Entry, Publisher
from proxy.dapr.secrets import Secrets
from proxy.dapr.states import Found, States

__all__ = ["Entry", "Found", "Runtime", "Watch"]


class Runtime:
    def __init__(self, buses: Buses, components: Components, platform: Platform | None) -> None:
        """*platform* has the key of the tokens; None: no token is asked for."""
        self._platform = platform
        self.directory = Directory()
        self._publisher = Publisher(self.directory, buses)
        self._bindings = Bindings(components)
        self.state = States(components)
        """get, get_bulk, save, delete, delete_bulk, transact."""
        self._secrets = Secrets(components)
        self._configurations = Configurations(components)

    def declare(self, snapshots: Iterable[Snapshot]) -> None:
        """These are the apps and components of all namespaces."""
        self.directory.declare(snapshots)
        self._publisher.forget()

    async def close(self) -> None:
        """End what is open."""
        await self._configurations.close()

    def caller(self, token: str, own: Key | None = None) -> App:
        """The app that calls: by its *token*, or by the listener of its *own* that it came in by, where a token may be
        left out but must be its own."""
        if own is not None and not token:
            return self.directory.app(own)
        if self._platform is None:
            return self.directory.app(own or Key("default", ""))
        function = self._platform.caller(token) if token else None
        if function is None or own not in {None, function}:
            raise unauthenticated()
        return self.directory.app(function)

    async def publish(
        self,
        caller: Caller,
        pubsub: str,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> None:
        """Return once the event is stored."""
        await self._publisher.publish(caller, pubsub, topic, data, content_type, metadata)

    async def publish_bulk(
        self, caller: Caller, pubsub: str, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Id and error of each entry that failed."""
        return await self._publisher.publish_bulk(caller, pubsub, topic, entries, metadata)

    async def invoke_binding(
        self, caller: Caller, name: str, operation: str, data: bytes, metadata: Mapping[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        """Data and metadata of the answer."""
        return await self._bindings.invoke(caller, name, operation, data, metadata)

    async def secret(self, caller: Caller, store: str, key: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Key and value pairs of one secret; empty: there is no such secret."""
        return await self._secrets.secret(caller, store, key, metadata)

    async def secrets(self, caller: Caller, store: str, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Every secret of the store that the app may read."""
        return await self._secrets.secrets(caller, store, metadata)

    async def configuration(
        self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> dict[str, Value]:
        """Those of *keys* that are there; no keys: all items."""
        return await self._configurations.get(caller, store, keys, metadata)

    def subscribe_configuration(
        self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> Watch:
        """Iterate over the watch for changes; end it with unsubscribe_configuration()."""
        return self._configurations.watch(caller, store, keys, metadata)

    async def unsubscribe_configuration(self, caller: Caller, store: str, id: str) -> None:  # noqa: A002 - Dapr's word
        """End a watch of the caller's own; its iteration ends."""
        await self._configurations.end(caller, store, id)
