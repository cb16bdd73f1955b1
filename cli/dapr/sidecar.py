"""The broker, and one proxy with the apps' own addresses, for the apps of one ``evoke dapr run``.

This process plays the controller of the platform towards its own proxy: same planner, same snapshot, same stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from api import platform
from api.actions import Resource
from api.frames import AppListener, Notice
from api.meta import Key
from api.model import AppDeclaration, AppSubscription, Component, Snapshot, Subscription, digest
from api.platform import LOOPBACK
from cli.dapr import broker, instances, resources
from cli.dapr.attendant import Attendant, endpoint
from cli.dapr.planning import Planned, planned
from cli.dapr.settings import AppRun, BadRun
from controller.local.app_health import Healths
from controller.local.paths import Paths
from proxy.components import registry
from proxy.main import run as run_proxy
from proxy.settings import ProxySettings
from replicas.apps.client import BadDeclaration
from replicas.apps.connect import Apps
from replicas.errors import ReplicaError
from replicas.http import HttpClient
from replicas.server import ControlServer

log = logging.getLogger("dapr")

AGENT = "proxy-0"
READY_WITHIN = 30.0
"""Seconds until the API has to answer."""
POLL = 0.02
PEERS_EVERY = 1.0
"""Seconds between two looks for apps of other runs."""
RELEASE = 10.0
"""Seconds that deliveries in flight have at the end."""


class Sidecar:
    """The apps of one run."""

    def __init__(self, apps: Sequence[AppRun], declared: Sequence[Resource], paths: Paths) -> None:
        self.apps = {app.key: app for app in apps}
        self._resources, self._paths = declared, paths
        # several runs start at once, and the known ports belong to platforms, brokers and --dapr-http-port
        self._platform = platform.choose(platform.load(paths.state), durability="os", anywhere=True)
        self._control = ControlServer(paths.socket("control"), 1, self._on_change, _tell)
        self._declared: dict[Key, AppDeclaration] = {}
        self._streams: dict[Key, tuple[AppSubscription, ...]] = {}
        self._well: set[Key] = set()
        self._peers: dict[Key, AppRun] = {}
        self._told: tuple[str, ...] = ()
        self._plan: Planned | None = None
        self._http = HttpClient()
        self._clients, self._healths = Apps(self._http), Healths()
        self.proxy: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Broker and proxy; on entry every API answers."""
        platform.save(self._paths.state, self._platform)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(broker.running(self._paths, self._platform))
            await self._control.start()
            stack.push_async_callback(self._control.stop)
            stack.push_async_callback(self._http.aclose)
            stack.push_async_callback(self._clients.aclose)
            stack.push_async_callback(self._healths.aclose)
            listeners = [
                AppListener(function=app.key, http=f"{LOOPBACK}:{app.http}", grpc=f"{LOOPBACK}:{app.grpc}")
                for app in self.apps.values()
            ]
            self._control.listen(AGENT, listeners)
            self._replan()
            self.proxy = asyncio.create_task(run_proxy(self._settings()), name="proxy")
            stack.push_async_callback(_ended, self.proxy)
            await self._answering()
            await self._connected()
            yield

    def environ(self, app: AppRun) -> dict[str, str]:
        """What the program of *app* is told."""
        inherited = {name: value for name, value in os.environ.items() if name != "DAPR_API_TOKEN"}
        own = {
            "DAPR_HTTP_PORT": str(app.http),
            "DAPR_GRPC_PORT": str(app.grpc),
            "DAPR_HTTP_ENDPOINT": f"http://{LOOPBACK}:{app.http}",
            "DAPR_GRPC_ENDPOINT": f"{LOOPBACK}:{app.grpc}",
            "DAPR_RUNTIME_HOST": LOOPBACK,
            "APP_ID": app.id,
            "APP_PROTOCOL": app.protocol,
        }
        if app.port:
            own |= {"APP_PORT": str(app.port)}
        return inherited | own | app.env

    async def attend(self, app: AppRun) -> None:
        """Wait for the app, ask what it takes, and let its work come."""
        if not app.port:
            self._declared[app.key] = AppDeclaration()
            self._replan()
            return
        client = self._clients.app(app.protocol, f"{LOOPBACK}:{app.port}", os.environ.get("APP_API_TOKEN", ""))
        attendant = Attendant(app, client, self._healths, lambda well: self._changed(attendant, well))
        await attendant.ready()
        try:
            self._declared[app.key] = await attendant.declaration(self._bindings(app))
        except (ReplicaError, BadDeclaration) as error:
            log.error("app %s: what it subscribes to cannot be told: %s", app.id, error)
            self._declared[app.key] = AppDeclaration()
        self._replan()
        attendant.watch()
        log.info("app %s is there: its work comes from now on", app.id)

    async def find_peers(self) -> None:
        """Look for apps of other runs for ever: ours call them by their ids, as over Dapr's name resolution."""
        while True:
            found = {app.key: app for app in await asyncio.to_thread(peers) if app.key not in self.apps}
            if found != self._peers:
                gone = self._peers.keys() - found.keys()
                self._peers = found
                for key in gone:
                    self._control.endpoints(self._planned.revisions[key], ())
                self._replan()
                for key, app in found.items():
                    self._control.endpoints(self._planned.revisions[key], (endpoint(app),))
            await asyncio.sleep(PEERS_EVERY)

    def quiesce(self) -> None:
        """Nothing new for anybody."""
        for key in list(self._well):
            self._well.discard(key)
            self._control.endpoints(self._planned.revisions[key], ())

    @property
    def _planned(self) -> Planned:
        assert self._plan is not None
        return self._plan

    def _changed(self, attendant: Attendant, well: bool) -> None:
        key = attendant.app.key
        (self._well.add if well else self._well.discard)(key)
        self._control.endpoints(self._planned.revisions[key], (endpoint(attendant.app),) if well else ())

    def _bindings(self, app: AppRun) -> list[Component]:
        """Components that may bring *app* events."""
        return [
            one
            for one in self._planned.snapshot.components
            if one.type.startswith("bindings.")
            and one.owner in {"", app.key.name}
            and (not one.scopes or app.id in one.scopes)
            and (declared := registry.find(one.type, one.version)) is not None
            and declared.source is not None
        ]

    def _replan(self) -> None:
        """Publish what holds now, and own what belongs to apps that are there."""
        others = [resources.function(app) for app in self._peers.values()]
        self._plan = planned([*self._resources, *others], self._declared, self._streams, {})
        for problem in self._plan.problems:
            if problem not in self._told:
                log.warning("%s", problem)
        self._told = self._plan.problems
        snapshot = self._own(self._plan.snapshot)
        self._control.publish(snapshot)
        owned = [
            one.key
            for one in snapshot.subscriptions
            if one.sink is not None
            or {backend.revision.function_key for backend in one.backends} <= set(self._declared)
        ]
        sources = [one.key for one in snapshot.sources] if self._declared else []
        self._control.assign(AGENT, owned, sources)

    def _own(self, snapshot: Snapshot) -> Snapshot:
        """*snapshot* with the token of our apps, and without what peers subscribe to: their runs deliver that."""
        token = os.environ.get("APP_API_TOKEN", "")
        content = msgspec.structs.replace(
            snapshot,
            digest="",
            apps=tuple(
                msgspec.structs.replace(one, token=token) if token and one.key in self.apps else one
                for one in snapshot.apps
            ),
            subscriptions=tuple(one for one in snapshot.subscriptions if _functions(one).isdisjoint(self._peers)),
        )
        return msgspec.structs.replace(content, digest=digest(content))

    def _on_change(self) -> None:
        """Remember the streams that apps have opened."""
        agent = self._control.agents.get(AGENT)
        if agent is None or agent.readings is None:
            return
        found = dict(self._streams)
        for one in agent.readings.streams:
            known = found.get(one.function, ())
            if one.subscription not in known:
                found[one.function] = (*known, one.subscription)
        if found != self._streams:
            self._streams = found
            self._replan()

    def _settings(self) -> ProxySettings:
        return ProxySettings(
            control=self._paths.socket("control"),
            cache=self._paths.run / "snapshots",
            agent=AGENT,
            platform=self._platform,
            shared=False,
        )

    async def _answering(self) -> None:
        """Return when every app's API takes calls. Raises BadRun."""
        waiting = {app.http: app for app in self.apps.values()}
        end = asyncio.get_running_loop().time() + READY_WITHIN
        while waiting:
            if self.proxy.done():
                self.proxy.result()
            for port in list(waiting):
                if await asyncio.to_thread(_answers, port):
                    del waiting[port]
            if asyncio.get_running_loop().time() > end:
                raise BadRun(f"the API of {', '.join(one.id for one in waiting.values())} does not answer")
            await asyncio.sleep(POLL)

    async def _connected(self) -> None:
        """Return when every bus and component is there, or had its time: what is late is tried again for ever."""
        within = max((one.init_timeout.total_seconds() for one in self._planned.snapshot.components), default=5.0)
        end = asyncio.get_running_loop().time() + within
        while late := self._late():
            if self.proxy.done() or asyncio.get_running_loop().time() > end:
                for name, message in sorted(late.items()):
                    log.error("%s does not work yet, and is tried again: %s", name, message)
                return
            await asyncio.sleep(POLL)

    def _late(self) -> dict[str, str]:
        """What is not connected, and why."""
        agent = self._control.agents.get(AGENT)
        readings = agent.readings if agent else None
        if readings is None:
            return {"the proxy": "it has not reported"}
        found = {f"bus {one.bus.name}": one.message for one in readings.buses if not one.connected}
        return found | {f"component {one.component.name}": one.message for one in readings.components if one.reason}


def _functions(subscription: Subscription) -> set[Key]:
    return {backend.revision.function_key for backend in subscription.backends}


def peers() -> list[AppRun]:
    """Apps of other runs on this machine that can be called."""
    return [
        AppRun(id=one.id, folder=Path(), port=one.port, protocol="grpc" if one.protocol == "grpc" else "http")
        for one in instances.running()
        if one.pid != os.getpid() and one.port
    ]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/v1.0/healthz/outbound")
        return connection.getresponse().status == 204
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def _ended(proxy: asyncio.Task[None]) -> None:
    """Take the proxy down: deliveries in flight have their time."""
    proxy.cancel()
    await asyncio.wait([proxy], timeout=RELEASE)
    if proxy.done() and not proxy.cancelled() and (error := proxy.exception()) is not None:
        log.error("the proxy ended with %s: %s", type(error).__name__, error)


def _tell(notice: Notice) -> None:
    log.log(
        logging.INFO if notice.kind in ("delivered", "activation") else logging.WARNING,
        "app %s: %s%s: %s",
        notice.function,
        notice.kind,
        f" (event {notice.event_id})" if notice.event_id else "",
        notice.message,
    )
