"""The Dapr API without a transport: what HTTP and gRPC both call. Every method raises DaprError only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from api.component_scopes import is_named
from api.errors import EvokeError
from api.meta import Key
from api.model import App, Snapshot
from api.platform import Platform
from proxy.buses import Buses
from proxy.components.components import Components
from proxy.components.protocols import Value
from proxy.dapr.about import About, Metadata
from proxy.dapr.bindings import Bindings
from proxy.dapr.caller import Caller
from proxy.dapr.calls import Calls
from proxy.dapr.configuration_posts import Posts
from proxy.dapr.configurations import Configurations, Watch
from proxy.dapr.crowd import Crowd, Held
from proxy.dapr.errors import unauthenticated
from proxy.dapr.guards import Guards
from proxy.dapr.invocation import Answered, Content, Headers, Invocation, Invoker, fault
from proxy.dapr.messages import Entry, Place
from proxy.dapr.publishing import Publisher
from proxy.dapr.secrets import Secrets
from proxy.dapr.states import Found, States
from proxy.wiring import Wiring

if TYPE_CHECKING:
    from replicas.apps.grpc import GrpcApp

log = logging.getLogger(__name__)

__all__ = ["Answered", "Entry", "Found", "Metadata", "Runtime", "Watch"]


class Runtime:
    def __init__(
        self,
        buses: Buses,
        components: Components,
        platform: Platform | None,
        wiring: Wiring,
        *,
        on_shutdown: Callable[[Key], None] | None = None,
    ) -> None:
        """*platform* has the key of the tokens; None: no token is asked for. *on_shutdown* is told the function that
        asked for the end of its runtime."""
        self._platform, self._resolve, self._on_shutdown = platform, wiring.resolve, on_shutdown
        self.directory, self._apps, self._streams = wiring.directory, wiring.apps, wiring.streams
        self.calls = Calls(self.directory, wiring.table, wiring.send, wiring.changed)
        """What the autoscaler sees of service invocation."""
        self._guards = Guards()
        self._publisher = Publisher(self.directory, buses, self._guards)
        self._bindings = Bindings(components, self._guards)
        self.state = States(components, self._guards)
        """get, get_bulk, save, delete, delete_bulk, transact."""
        self._secrets = Secrets(components)
        self._configurations = Configurations(components)
        self._invoker = Invoker(self.directory, self.calls, self._apps, self.app_token)
        self._posts = Posts(self._configurations, self.directory, wiring.table, self._apps, self.app_token)
        self._about = About(self.directory)
        self._crowd = Crowd()

    def declare(self, snapshots: Iterable[Snapshot]) -> None:
        """These are the apps and components of all namespaces."""
        self.directory.declare(snapshots)
        self._publisher.forget()
        self.calls.keep()
        functions = {app.key for app in self.directory.apps()}
        self._configurations.keep(functions)
        self._guards.keep(functions)
        self._about.keep(functions)

    async def close(self) -> None:
        """End what is open."""
        await self._configurations.close()

    def admit(self, app: App) -> AbstractContextManager[None]:
        """Hold this around every call but a stream's: it raises DaprError when the app or its namespace has too many
        under way."""
        return self._crowd.admit(app.key)

    def held(self) -> Held:
        """Counts the bytes of one request's body."""
        return Held(self._crowd)

    @property
    def ready(self) -> bool:
        """Whether it is known what there is."""
        return self.directory.known

    def app_token(self, app: App) -> str:
        """What *app* expects of whoever calls it (APP_API_TOKEN); empty: nothing, or it cannot be read."""
        try:
            return self._resolve(app.key.namespace, app.token)
        except (EvokeError, LookupError) as error:
            log.warning("token of app id %s: %s", app.id, error)
            return ""

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

    def subscribable(self, caller: Caller, pubsub: str, topic: str) -> Place:
        """What a subscription of the app's own means, where it may have one."""
        return self._publisher.subscribable(caller.app, pubsub, topic)

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

    async def post_configuration(
        self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> str:
        """Post changes to the replicas of the app that there are; the id is for unsubscribe_configuration()."""
        return await self._posts.subscribe(caller, store, keys, metadata)

    async def unsubscribe_configuration(self, caller: Caller, store: str, id: str) -> None:  # noqa: A002 - Dapr's word
        """End a watch of the caller's own; its iteration ends."""
        if not await self._posts.unsubscribe(caller, store, id):
            await self._configurations.end(caller, store, id)

    async def invoke(
        self,
        caller: Caller,
        app_id: str,
        method: str,
        verb: str,
        headers: Headers = (),
        query: str = "",
        body: Content = b"",
    ) -> Answered:
        """Call a method of an app, waking it as needed. *method* is a path, percent-encoded, with or without its first
        slash; header names are lower case. Read or close the answer."""
        app = self._invoker.target(caller, app_id)
        method = method.removeprefix("/")
        call = Invocation(method=method, verb=verb, headers=headers, query=query, body=body)
        return await self._guards.run(
            caller.app,
            f"app:{app.id}",
            partial(self._invoker.invoke, caller, app, call),
            fault,
            Answered.close,
            repeatable=isinstance(body, bytes),
        )

    def target(self, caller: Caller, app_id: str) -> App:
        """The app that *caller* may call by that id; ``calls.reach()`` gets a replica of it."""
        return self._invoker.target(caller, app_id)

    def grpc_app(self, app: App, address: str) -> GrpcApp:
        """A client of the gRPC app that listens at *address*."""
        return self._apps.grpc(address, self.app_token(app))

    def metadata(self, caller: Caller) -> Metadata:
        """What this runtime is to the app."""
        return self._about.metadata(caller)

    def is_called(self, caller: Caller, app_id: str) -> bool:
        """Whether *app_id* is the caller's own."""
        return is_named(app_id, caller.app)

    def set_metadata(self, caller: Caller, key: str, value: str) -> None:
        """Set one of the app's own attributes."""
        self._about.set(caller, key, value)

    async def shutdown(self, caller: Caller) -> None:
        """The app wants nothing more of its runtime: end its
        watches and streams. The runtime itself is everybody's and goes on."""
        await self._configurations.close(caller.app.key)
        self._streams.end("the app has asked for the end of its runtime", caller.app.key)
        if self._on_shutdown is not None:
            self._on_shutdown(caller.app.key)
