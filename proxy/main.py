"""The proxy as one coroutine: `run` assembles its parts, and takes them down when it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address

from api.addresses import denied
from api.frames import AppListener, Frame
from proxy.agent import ProxyAgent
from proxy.dapr.streams import Streams
from proxy.dapr_grpc.api import GrpcApi
from proxy.dapr_http.listeners import HttpListeners
from proxy.operations import OperationsApi
from proxy.serving import Listener
from proxy.settings import ProxySettings
from proxy.wiring import Wiring
from replicas.apps.connect import Apps
from replicas.client import ControlClient
from replicas.http import HttpClient
from replicas.table import ReplicaTable

log = logging.getLogger(__name__)


async def run(settings: ProxySettings, ready: Callable[[ProxyAgent], None] | None = None) -> None:
    """Serve until cancelled; *ready* is called with the agent once the listeners are bound.

    The agent's ``readings()`` are what a gateway in the same process shows on /metrics. Raises OSError when an address
    is taken.
    """
    boot_id = uuid.uuid4().hex
    http, outside = HttpClient(), HttpClient(denied=partial(_denied, settings))

    def send(frame: Frame) -> bool:
        return control.send(frame)

    wiring = Wiring(
        http=http,
        outside=outside,
        apps=Apps(http),
        table=ReplicaTable(),
        send=send,
        streams=Streams(lambda: agent.touch()),  # noqa: PLW0108 - each needs the other
        changed=lambda: agent.touch(),  # noqa: PLW0108 - each needs the other
        bus=lambda key: agent.bus(key),  # noqa: PLW0108 - each needs the other
        join=lambda key: agent.join(key),  # noqa: PLW0108 - each needs the other
        resolve=settings.resolve,
        bind=lambda function, name, data: agent.bind(function, name, data),  # noqa: PLW0108 - each needs the other
    )
    agent = ProxyAgent(settings, boot_id, wiring, lambda: control.connected)
    control = ControlClient(settings.control, "proxy", settings.agent, boot_id, agent, settings.cache)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(http.aclose)
        stack.push_async_callback(outside.aclose)
        stack.push_async_callback(wiring.apps.aclose)
        stack.push_async_callback(agent.close)
        await _listen(settings, agent, wiring.streams, stack)
        stack.push_async_callback(agent.release)  # first: work in flight still publishes its outputs
        if ready is not None:
            ready(agent)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.run())
            tasks.create_task(agent.run())


def _denied(settings: ProxySettings, address: str) -> str:
    return denied(ip_address(address.partition("%")[0]), loopback=settings.loopback_sinks)


async def _listen(
    settings: ProxySettings, agent: ProxyAgent, streams: Streams, stack: contextlib.AsyncExitStack
) -> None:
    """Open the listeners; they close before what they serve."""
    beside = settings.dapr_socket.with_suffix(".grpc") if settings.dapr_socket is not None else None
    http, grpc = HttpListeners(agent.runtime), GrpcApi(agent.runtime, streams, beside)
    operations = Listener(OperationsApi(agent.buses, agent.sources, agent.snapshots).app)
    for stop in (http.stop, grpc.stop, operations.stop):
        stack.push_async_callback(stop)
    agent.on_apps += [http.assign, _assign(grpc)]
    agent.on_declared.append(grpc.declared)
    if settings.dapr_socket is not None:
        await http.on_socket(settings.dapr_socket)
    if settings.dapr is not None:
        await http.on_address(*_address(settings.dapr))
    if settings.dapr_grpc is not None:
        await grpc.on_address(*_address(settings.dapr_grpc))
    if settings.operations is not None:
        await operations.on_socket(settings.operations)


def _assign(grpc: GrpcApi) -> Callable[[Sequence[AppListener]], None]:
    """Its assign() as a callback; one runs at a time, and the last word counts."""
    running: list[asyncio.Task[None]] = []

    async def follow(apps: Sequence[AppListener], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        await grpc.assign(apps)

    def assign(apps: Sequence[AppListener]) -> None:
        before = running.pop() if running else None
        running.append(asyncio.get_running_loop().create_task(follow(apps, before)))

    return assign


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
