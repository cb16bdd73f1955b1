"""Dapr apps as replicas: a program is started, found where it listens, asked what it takes, and its health watched.

What is asked of it goes over Dapr's protocol of the app's side (replicas/apps); nothing here decides how many run.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec

from api.errors import EvokeError, Unavailable
from api.model import AppDeclaration, AppSubscription, Workload
from api.platform import free
from controller.errors import StartFailed
from controller.local import listening, logs
from controller.local.app_facts import AppFacts, Binding, descriptor
from controller.local.app_health import Healths, Pulse
from controller.local.app_ports import AppPorts
from controller.local.forks import Launch, Running, fork_program
from controller.local.zygotes import Zygote
from functions_framework.zygote_wire import Descriptor
from replicas.apps.client import ASK, AppClient, BadDeclaration
from replicas.apps.connect import Apps as Clients
from replicas.errors import ReplicaError
from replicas.http import HttpClient

T = TypeVar("T")

MOMENT = timedelta(seconds=10)
"""After which an app that was told no port is taken for one that only calls."""
_PAUSES = (0.01, 0.02, 0.05, 0.1)
"""Seconds between two looks at its port; the last one repeats."""
_ASKING = 10.0
"""Seconds for which an app that listens may still fail to answer what it takes."""
_DOUBT = 2.0
"""The same of an answer that makes no sense."""
_AGAIN = 0.2


class Apps:
    """The apps of this machine."""

    def __init__(self, ports: AppPorts, token: Callable[[Workload], str]) -> None:
        """*token* is what the app of a workload expects of its callers; empty: nothing."""
        self.ports, self._token = ports, token
        self._http: HttpClient | None = None
        self._clients: Clients | None = None
        self._healths = Healths()

    async def begin(self, replica: Running, launch: Launch, zygote: Zygote, listener: socket.socket) -> Descriptor:
        """Start the program and see it listen, and well where it has a health check; StartFailed says why not."""
        workload = launch.workload
        if workload.port and not free(workload.port):
            raise StartFailed(
                "PortTaken", f"another program listens at port {workload.port}; let this one read $APP_PORT"
            )
        told = {"APP_PORT": str(replica.port), "PORT": str(replica.port)}
        await fork_program(replica, msgspec.structs.replace(launch, env={**launch.env, **told}), zygote, listener)
        loop = asyncio.get_running_loop()
        until = loop.time() + workload.start_timeout.total_seconds()
        moment = min(until, loop.time() + MOMENT.total_seconds())
        if launch.listens is not False:
            must = bool(workload.port or launch.listens)
            replica.host = await self._listening(replica, until if must else moment, must=must)
        if replica.host and workload.health is not None:
            await self._well(replica, workload, until)
        return descriptor(workload, listens=bool(replica.host))

    async def ask(self, replica: Running, workload: Workload, bindings: Collection[Binding]) -> AppFacts:
        """What a running app takes; StartFailed when it does not say."""
        asked = tuple(sorted(bindings))
        if not replica.host:
            return AppFacts(AppDeclaration(), asked)
        client = self._client(replica, workload)
        try:
            await self._answered(replica, client.config)
            found = await self._subscriptions(replica, workload, client)
            takes = [one.name for one in asked if one.sure or await client.takes_binding(one.name, one.path)]
        except BadDeclaration as error:
            raise StartFailed("DeclarationInvalid", str(error)) from error
        except ReplicaError as error:
            if replica.gone.is_set():
                raise _ended(replica) from error
            raise StartFailed("StartTimeout", f"does not say what it takes: {error}") from error
        return AppFacts(AppDeclaration(subscriptions=found, bindings=tuple(takes)), asked)

    async def _subscriptions(
        self, replica: Running, workload: Workload, client: AppClient
    ) -> tuple[AppSubscription, ...]:
        """What it declares. A server that has an answer to everything declares nothing by what makes no sense."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _DOUBT
        while True:
            try:
                return await self._answered(replica, client.subscriptions)
            except BadDeclaration:
                nonsense = f"/dapr/{secrets.token_hex(8)}"
                if workload.protocol == "http" and await client.healthy(nonsense, ASK):
                    return ()
                if loop.time() >= until:
                    raise
            await _pause(replica, _AGAIN)

    async def adopt(self, replica: Running, workload: Workload, *, listens: bool) -> None:
        """Know an app again that an earlier controller started; LookupError when it does not listen any more."""
        if not workload.port:
            self.ports.occupy(replica.id, replica.port)
        if not listens:
            return
        replica.host = await listening.find(replica.port)
        if not replica.host:
            raise LookupError(f"nobody listens at port {replica.port}")

    def watch(self, replica: Running, workload: Workload, changed: Callable[[Running], None]) -> None:
        """Probe the app from now on, where it has a health check; *changed* hears of every change of ``unwell``."""
        health = workload.health
        if health is None or not replica.host:
            return
        seconds = health.timeout.total_seconds()
        client = self._client(replica, workload)
        asked = "HealthCheck" if workload.protocol == "grpc" else f"GET {health.path}"

        def judged(pulse: Pulse) -> None:
            replica.unwell = "" if pulse.well else f"{asked} failed {pulse.failures} times in a row"
            changed(replica)

        self._healths.watch(replica.id, health, lambda: client.healthy(health.path, seconds), judged)

    def forget(self, replica: str) -> None:
        """A replica is gone."""
        self._healths.forget(replica)
        self.ports.give_back(replica)

    async def aclose(self) -> None:
        await self._healths.aclose()
        if self._clients is not None:
            await self._clients.aclose()
        if self._http is not None:
            await self._http.aclose()

    def _client(self, replica: Running, workload: Workload) -> AppClient:
        if self._clients is None:
            self._http = HttpClient()
            self._clients = Clients(self._http)
        return self._clients.app(workload.protocol, replica.host, self._token(workload))

    async def _listening(self, replica: Running, until: float, *, must: bool) -> str:
        """Where it listens; empty: nowhere yet, and it need not."""
        loop = asyncio.get_running_loop()
        began, pauses = loop.time(), iter(_PAUSES)
        while not replica.gone.is_set():
            if found := await listening.find(replica.port):
                return found
            if loop.time() >= until:
                elsewhere = listening.ports_of(listening.processes(replica.pid))
                if not must and not elsewhere:
                    return ""
                raise StartFailed("StartTimeout", _deaf(replica, loop.time() - began, elsewhere))
            await _pause(replica, next(pauses, _PAUSES[-1]))
        raise _ended(replica)

    async def _well(self, replica: Running, workload: Workload, until: float) -> None:
        health = workload.health
        if health is None:
            return
        client, loop = self._client(replica, workload), asyncio.get_running_loop()
        while not await client.healthy(health.path, health.timeout.total_seconds()):
            if replica.gone.is_set():
                raise _ended(replica)
            if loop.time() >= until:
                raise StartFailed("StartTimeout", f"listens, but is not healthy: {health.path}{_said(replica)}")
            await _pause(replica, min(_AGAIN, health.every.total_seconds()))

    async def _answered(self, replica: Running, question: Callable[[], Awaitable[T]]) -> T:
        """The answer of an app that may still be starting behind its port."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _ASKING
        while True:
            try:
                return await question()
            except ReplicaError:
                if replica.gone.is_set() or loop.time() >= until:
                    raise
            await _pause(replica, _AGAIN)


async def _pause(replica: Running, seconds: float) -> None:
    """Wait, but no longer than it lives."""
    try:
        async with asyncio.timeout(seconds):
            await replica.gone.wait()
    except TimeoutError:
        return


def _deaf(replica: Running, seconds: float, elsewhere: Sequence[int]) -> str:
    hint = f"; it listens at {elsewhere[0]}: say so in dapr.io/app-port" if elsewhere else ""
    return f"does not listen on $APP_PORT={replica.port} within {seconds:.0f} s{hint}{_said(replica)}"


def _ended(replica: Running) -> EvokeError:
    if replica.lost:
        return Unavailable("its zygote ended")
    reason = "OutOfMemory" if replica.reason.startswith("out of memory") else "CrashLoop"
    when = "when it was asked what it takes" if replica.host else f"before it listened on $APP_PORT={replica.port}"
    return StartFailed(reason, f"ended {when}: {replica.reason}{_said(replica)}")


def _said(replica: Running) -> str:
    words = logs.last_words(replica.log)
    return f"; its last words: {words}" if words else ""
