"""Configuration changes posted to HTTP apps: one watch for an app and its keys, told to every replica that runs.

A function without replicas is not woken: what starts reads its configuration anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from api.frames import Endpoint
from api.model import App
from proxy.components.protocols import Value
from proxy.dapr.caller import Caller
from proxy.dapr.configurations import Configurations, Watch
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError
from replicas.apps.connect import Apps
from replicas.apps.http import path_of
from replicas.errors import ReplicaError
from replicas.table import ReplicaTable

log = logging.getLogger(__name__)

TRIES = 3
PAUSE = 0.5
"""Seconds between two tries of one replica."""
TIMEOUT = 10.0
JSON = (b"content-type", b"application/json")


class _Subscription:
    __slots__ = ("id", "task", "users", "watch")

    def __init__(self, id: str, watch: Watch) -> None:  # noqa: A002 - Dapr's word
        self.id, self.watch, self.users = id, watch, 1
        self.task: asyncio.Task[None] | None = None


class Posts:
    def __init__(
        self,
        configurations: Configurations,
        directory: Directory,
        table: ReplicaTable,
        apps: Apps,
        token: Callable[[App], str],
    ) -> None:
        self._configurations, self._directory = configurations, directory
        self._table, self._apps, self._token = table, apps, token
        self._subscriptions: dict[str, _Subscription] = {}

    async def subscribe(self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]) -> str:
        """The id; replicas of one app that ask for the same share one."""
        asked = msgspec.json.encode([caller.app.key, store, sorted(set(keys)), sorted(metadata.items())])
        id_ = hashlib.sha256(asked).hexdigest()[:32]
        known = self._subscriptions.get(id_)
        if known is not None:
            known.users += 1
            await known.watch.begun()
            return id_
        watch = self._configurations.watch(caller, store, keys, metadata)
        made = self._subscriptions[id_] = _Subscription(id_, watch)
        made.task = asyncio.get_running_loop().create_task(self._run(made), name=f"configuration {store}")
        await watch.begun()
        return id_

    async def unsubscribe(self, caller: Caller, store: str, id: str) -> bool:  # noqa: A002 - Dapr's word
        """Whether it was one of these, and the caller's own."""
        known = self._subscriptions.get(id)
        if known is None or known.watch.caller.app.key != caller.app.key or known.watch.store != store:
            return False
        known.users -= 1
        if not known.users:
            del self._subscriptions[id]
            await self._configurations.end(caller, store, known.watch.id)
        return True

    async def _run(self, one: _Subscription) -> None:
        try:
            async for items in one.watch:
                await self._tell(one, items)
        except DaprError as error:
            log.warning("configuration of app id %s: %s", one.watch.caller.app.id, error)
        finally:
            if self._subscriptions.get(one.id) is one:
                del self._subscriptions[one.id]

    async def _tell(self, one: _Subscription, items: Mapping[str, Value]) -> None:
        app = self._directory.app(one.watch.caller.app.key)
        body = msgspec.json.encode({"id": one.id, "items": items})
        route = self._directory.route(app.key)
        backends = route.backends if route is not None else ()
        replicas = [endpoint for backend in backends for endpoint in self._table.ready(backend.revision)]
        async with asyncio.TaskGroup() as tasks:
            for endpoint in replicas:
                for key in items:
                    target = path_of(f"/configuration/{quote(one.watch.store, safe='')}/{quote(key, safe='')}")
                    tasks.create_task(self._post(app, endpoint, target, body))

    async def _post(self, app: App, endpoint: Endpoint, target: bytes, body: bytes) -> None:
        client = self._apps.http(endpoint.address, self._token(app))
        for tried in range(TRIES):
            if tried:
                await asyncio.sleep(PAUSE)
            try:
                reply = await client.post(target, [JSON], body, TIMEOUT)
            except ReplicaError as error:
                told = str(error)
            else:
                if 200 <= reply.status < 300:
                    return
                told = f"HTTP {reply.status}"
        log.warning("app id %s did not take a configuration change: %s", app.id, told)
