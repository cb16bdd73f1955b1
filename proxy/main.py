"""The proxy as one coroutine: `run` assembles its parts, and takes them down when it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from api.addresses import denied
from api.frames import Frame
from proxy.agent import ProxyAgent
from proxy.dapr_http import DaprApi
from proxy.operations import OperationsApi
from proxy.serving import Listener
from proxy.settings import ProxySettings
from proxy.wiring import Wiring
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
        table=ReplicaTable(),
        send=send,
        changed=lambda: agent.touch(),  # noqa: PLW0108 - each needs the other
        bus=lambda key: agent.bus(key),  # noqa: PLW0108 - each needs the other
        join=lambda key: agent.join(key),  # noqa: PLW0108 - each needs the other
    )
    agent = ProxyAgent(settings, boot_id, wiring, lambda: control.connected)
    control = ControlClient(settings.control, "proxy", settings.agent, boot_id, agent, settings.cache)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(http.aclose)
        stack.push_async_callback(outside.aclose)
        stack.push_async_callback(agent.buses.close)
        await _listen(settings, agent, stack)
        stack.push_async_callback(agent.release)  # first: work in flight still publishes its outputs
        if ready is not None:
            ready(agent)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.run())
            tasks.create_task(agent.run())


def _denied(settings: ProxySettings, address: str) -> str:
    return denied(ip_address(address.partition("%")[0]), loopback=settings.loopback_sinks)


async def _listen(settings: ProxySettings, agent: ProxyAgent, stack: contextlib.AsyncExitStack) -> None:
    """Open the listeners; they close before what they serve."""
    dapr = Listener(DaprApi(agent.buses, agent.snapshots, settings.platform).app)
    operations = Listener(OperationsApi(agent.buses, agent.sources, agent.snapshots).app)
    for listener in (dapr, operations):
        stack.push_async_callback(listener.stop)
    if settings.dapr_socket is not None:
        await dapr.on_socket(settings.dapr_socket)
    if settings.dapr is not None:
        host, _, port = settings.dapr.rpartition(":")
        await dapr.on_address(host.strip("[]"), int(port))
    if settings.operations is not None:
        await operations.on_socket(settings.operations)
