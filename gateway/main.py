"""The gateway as one coroutine: `run` assembles its parts, and takes them down when it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import msgspec

from api.frames import RouteReading, TriggerReading
from api.model import Option
from api.platform import Platform
from eventbus.connect import connect
from gateway.agent import INTERVAL, GatewayAgent
from gateway.forward import Forwarder
from gateway.front import Front
from gateway.invocations import Invocations
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.outbox import Buses, Connect, Outbox
from gateway.server import Server
from gateway.traffic import Traffic
from gateway.webhooks import Webhooks
from replicas.client import ControlClient
from replicas.http import HttpClient
from replicas.table import ReplicaTable

log = logging.getLogger(__name__)


def as_written(namespace: str, option: Option) -> str:
    """Resolve options where there is no store of secrets."""
    if not isinstance(option, str):
        raise LookupError(f"secret {option.name} of namespace {namespace} cannot be read here")
    return option


def no_triggers() -> Iterable[TriggerReading]:
    return ()


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one gateway process is told at its start."""

    http: str
    """``host:port`` to listen on."""
    control: Path
    """Socket of the control stream."""
    cache: Path
    """Directory of this agent's snapshots: ``STATE/snapshots/<agent>``."""
    agent: str = "gateway-0"
    platform: Platform | None = None
    """Where the embedded broker stands and how to log in; None: every bus says so itself."""
    resolve: Callable[[str, Option], str] = as_written
    """(namespace, option) -> its text, secrets included."""
    connect: Connect = connect
    """How a bus is reached."""
    triggers: Callable[[], Iterable[TriggerReading]] = no_triggers
    """What a proxy in the same process sees, for /metrics."""
    calls: Callable[[], Iterable[RouteReading]] = tuple
    """The same of service invocation."""
    limits: Limits = Limits()
    interval: timedelta = INTERVAL
    """Between two readings."""


async def run(settings: GatewaySettings, ready: Callable[[tuple[str, int]], None] | None = None) -> None:
    """Serve until cancelled; *ready* is called with the address once the listener is bound.

    Raises OSError when the address is taken.
    """
    boot_id = uuid.uuid4().hex
    table, traffic, client = ReplicaTable(), Traffic(), HttpClient()
    agent = GatewayAgent(
        boot_id,
        table,
        traffic,
        lambda frame: control.send(frame),  # noqa: PLW0108 - each needs the other
        interval=settings.interval,
        sources=lambda: webhooks.readings(),  # noqa: PLW0108 - each needs the other
    )
    control = ControlClient(settings.control, "gateway", settings.agent, boot_id, agent, settings.cache)
    buses = Buses(settings.platform, settings.resolve, settings.connect)
    outbox = Outbox(buses, agent.snapshots)
    webhooks = Webhooks(agent, outbox, settings.limits, settings.resolve)
    front = Front(
        agent,
        Forwarder(client, table, traffic, agent, settings.limits),
        Invocations(outbox, settings.limits),
        webhooks,
        Metrics(traffic, table, settings.triggers, settings.calls),
        traffic,
    )
    server = Server(front.handle, settings.limits)
    host, _, port = settings.http.rpartition(":")
    address = await server.start(host.strip("[]"), int(port))
    log.info("gateway listens on %s:%d", *address)
    if ready is not None:
        ready(address)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(control.run())
            tasks.create_task(agent.run())
            tasks.create_task(webhooks.run())
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await server.stop()
        await client.aclose()
        await buses.close()
