"""The Dapr API without a transport: what HTTP and gRPC both call. Every method raises DaprError only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from api.meta import Key
from api.model import App, Snapshot
from api.platform import Platform
from proxy.buses import Buses
from proxy.dapr.caller import Caller
from proxy.dapr.directory import Directory
from proxy.dapr.errors import unauthenticated
from proxy.dapr.publishing import Entry, Publisher

__all__ = ["Entry", "Runtime"]


class Runtime:
    def __init__(self, buses: Buses, platform: Platform | None) -> None:
        """*platform* has the key of the tokens; None: no token is asked for."""
        self._platform = platform
        self.directory = Directory()
        self._publisher = Publisher(self.directory, buses)

    def declare(self, snapshots: Iterable[Snapshot]) -> None:
        """These are the apps and components of all namespaces."""
        self.directory.declare(snapshots)

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
