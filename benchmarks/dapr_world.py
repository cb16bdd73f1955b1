"""One proxy process and as many Dapr apps as wanted, without a controller's process: for figures of the proxy alone.

``python -m benchmarks.dapr_world proxy DIR`` is the proxy; ``... app PORT`` answers for every app, at
``/<app>/<behaviour>``, and tells at ``/latencies`` how long events were on their way; ``... flood PORT APP`` publishes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from api import platform
from api.actions import Resource
from api.frames import AppListener, Endpoint
from api.model import AppDeclaration, AppSubscription
from api.platform import LOOPBACK, Platform, spare
from benchmarks.processes import listening
from cli.dapr import broker, resources
from cli.dapr.planning import planned
from cli.dapr.settings import AppRun
from controller.local.paths import Paths, prepare
from proxy.heap import shorten_pauses
from proxy.main import run as run_proxy
from proxy.settings import ProxySettings
from replicas.http import HttpClient
from replicas.server import ControlServer

AGENT = "proxy-0"
BUS = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory, version: v1}
"""
JSON = [(b"content-type", b"application/json")]
BULK = 100
"""Events of one bulk request."""
_ENTRIES = [{"entryId": str(n), "event": {"n": n}, "contentType": "application/json"} for n in range(BULK)]
_BULK = json.dumps(_ENTRIES).encode()
SLOW = 1.0
"""Seconds that a slow app takes for an event."""


class World:
    """Apps ``app-0``..., each subscribed to the topic of its name; the API of each stands at ports of its own."""

    def __init__(self, directory: Path, behaviours: list[str], credit: int) -> None:
        self.paths: Paths = prepare(directory / "state")
        self.here = platform.choose(None, durability="os")
        platform.save(self.paths.state, self.here)
        folder = directory / "resources"
        folder.mkdir()
        (folder / "bus.yaml").write_text(BUS)
        self.app_port, self._credit = spare(), credit
        # below the ports that the kernel gives to connections: hundreds of those would be taken by chance
        ports = filter(platform.free, range(20_000, 32_000))
        self.apps = [
            AppRun(id=f"app-{n}", folder=directory, port=1 + n, http=next(ports), grpc=next(ports), resources=(folder,))
            for n in range(len(behaviours))
        ]
        self._declared = {
            app.key: AppDeclaration(
                subscriptions=(AppSubscription(pubsub="bus", topic=app.id, path=f"/{app.id}/{behaviour}"),)
            )
            for app, behaviour in zip(self.apps, behaviours, strict=True)
        }
        self._resources: tuple[Resource, ...] = resources.load(self.apps, {})

    @asynccontextmanager
    async def serving(self, *, ready: bool) -> AsyncIterator[int]:
        """Pid of the proxy; with *ready* the apps are there."""
        control = ControlServer(self.paths.socket("control"), 1, lambda: None, lambda _notice: None)
        plan = planned(self._resources, self._declared, {}, {})
        listeners = [
            AppListener(function=app.key, http=f"{LOOPBACK}:{app.http}", grpc=f"{LOOPBACK}:{app.grpc}")
            for app in self.apps
        ]
        async with broker.running(self.paths, self.here):
            await control.start()
            control.listen(AGENT, listeners)
            control.publish(plan.snapshot)
            control.assign(AGENT, [one.key for one in plan.snapshot.subscriptions], [])
            for app in self.apps if ready else ():
                address = f"{LOOPBACK}:{self.app_port}"
                endpoint = Endpoint(replica=app.id, address=address, credit=self._credit, protocol="http")
                control.endpoints(plan.revisions[app.key], (endpoint,))
            process = self._proxy()
            try:
                for app in (self.apps[0], self.apps[-1]):
                    await asyncio.to_thread(listening, app.http, process)
                await self._open(control, len(plan.snapshot.subscriptions))
                yield process.pid
            finally:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, 60)
                await control.stop()

    def _proxy(self) -> subprocess.Popen[bytes]:
        words = ["-m", "benchmarks.dapr_world", "proxy", str(self.paths.state), str(self.paths.run)]
        return subprocess.Popen([sys.executable, *words])

    async def _open(self, control: ControlServer, count: int) -> None:
        """Return once every subscription is owned."""
        while True:
            agent = control.agents.get(AGENT)
            readings = agent.readings if agent else None
            if readings and sum(1 for one in readings.triggers if not one.blind) >= count:
                return
            await asyncio.sleep(0.1)

    @contextmanager
    def answering(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process of all apps."""
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.dapr_world", "app", str(self.app_port)])
        try:
            listening(self.app_port, process)
            yield process
        finally:
            process.terminate()
            process.wait(30)


async def proxy(state: Path, run: Path) -> None:
    """The proxy, until SIGTERM."""
    paths = Paths(state, run)
    here: Platform | None = platform.load(state)
    settings = ProxySettings(control=paths.socket("control"), cache=run / "snapshots", agent=AGENT, platform=here)
    task = asyncio.create_task(run_proxy(settings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait([task])


class Answers:
    """ASGI application of every app: what it was sent at which time, and what its behaviour is."""

    def __init__(self) -> None:
        self.latencies: dict[str, list[float]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/latencies":
            told, self.latencies = json.dumps(self.latencies).encode(), {}
            await _answer(send, 200, told)
            return
        _, app, behaviour = scope["path"].split("/")
        if behaviour == "slow":
            await asyncio.sleep(SLOW)
        if behaviour == "crash":
            await _answer(send, 500, b"it broke")
            return
        if behaviour == "quiet":
            sent = json.loads(body)["data"]["at"]
            self.latencies.setdefault(app, []).append((time.monotonic() - sent) * 1000)
        await _answer(send, 200, b"")


async def _answer(send: Any, status: int, body: bytes) -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def post(client: HttpClient, port: int, path: str, body: bytes) -> None:
    """Publish to the API at *port*."""
    reply = await client.request(f"{LOOPBACK}:{port}", "POST", path, JSON, body, timeout=120)
    await reply.read(1 << 20)


async def bulk(client: HttpClient, port: int, app: str) -> None:
    """Publish BULK events to the topic of *app*."""
    await post(client, port, f"/v1.0-alpha1/publish/bulk/bus/{app}", _BULK)


async def flood(port: int, app: str) -> None:
    """Until SIGTERM."""
    client = HttpClient()
    while True:
        await bulk(client, port, app)


def main() -> None:
    role, *words = sys.argv[1:]
    os.umask(0o077)
    if role == "proxy":
        shorten_pauses()  # as a plane does
        uvloop.run(proxy(Path(words[0]), Path(words[1])))
        return
    if role == "flood":
        uvloop.run(flood(int(words[0]), words[1]))
        return
    import uvicorn

    uvicorn.run(Answers(), host=LOOPBACK, port=int(words[0]), log_level="error", loop="uvloop", lifespan="off")


if __name__ == "__main__":
    main()
