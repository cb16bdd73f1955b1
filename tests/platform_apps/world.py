"""A project of apps that know nothing of Evoke, and what they were handed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from api import platform
from api.meta import Key
from builder.errors import NoEnvironment
from controller.local import listening
from controller.local.environments import Environments
from tests.platform import DEADLINE, Platform, processes, until

HERE = Path(__file__).parent
COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec: {type: pubsub.in-memory, version: v1}
"""
SUBSCRIPTION = """
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: node}
spec: {pubsubname: pubsub, topic: node, routes: {default: /handed}}
scopes: [node]
"""
FUNCTION = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}}}
spec:
  build: {{srcRepo: {{url: ./{folder}}}}}
  serving:
    triggers: {triggers}
    params: {{OUT: {out}}}
    scaleOptions: {{minReplicas: 0, maxReplicas: 3, keda: {{scaledObject: {{cooldownPeriod: 1}}}}}}
    annotations: {annotations}
    template: {{containers: [{{name: function, command: {command}}}]}}
"""


class World:
    """One project, and its platform."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform(folder / "project")
        self.out = folder / "out"
        self._documents = [COMPONENT]
        for place in (self.platform.project, self.out):
            place.mkdir()

    def python(self, name: str, triggers: str = "{}", **annotations: str) -> World:
        """Declare raw.py under *name*."""
        return self._app(name, "raw.py", ["python", "raw.py"], annotations, triggers)

    def node(self) -> World:
        self._documents.append(SUBSCRIPTION)
        return self._app("node", "node.js", ["node", "node.js"], {})

    def calls(self) -> World:
        """Declare calls.py, with the SDK among its requirements."""
        return self._sdk("calls", "dapr[grpc]>=1.19", {"dapr.io/app-protocol": "grpc"})

    def fast(self) -> World:
        """Declare fast.py, one of whose requirements our framework would not take."""
        return self._sdk("fast", "dapr[fastapi]>=1.19\nuvicorn<0.34", {})

    def streaming(self, name: str = "streaming") -> World:
        """Declare streaming.py, which has no port."""
        return self._sdk(name, "dapr>=1.19", {}, "streaming.py")

    def up(self, *options: str, watch: bool = False) -> World:
        (self.platform.project / "evoke.yaml").write_text("---".join(self._documents))
        self.platform.evoke("up", "-d", *options) if watch else self.platform.up(*options)
        return self

    def publish(self, topic: str, *events: Mapping[str, Any], by: str) -> None:
        """Publish as function *by*, over the shared address."""
        for event in events:
            self.call("POST", f"/v1.0/publish/pubsub/{topic}", event, by=by)

    def call(self, method: str, path: str, body: Any = None, *, by: str) -> Any:
        """The reply of the Dapr API to function *by*, decoded where there is one."""
        here = platform.load(self.platform.state)
        assert here is not None
        headers = {"content-type": "application/json", "dapr-api-token": here.token(Key("default", by))}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{here.dapr}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def handed(self, name: str) -> list[dict[str, Any]]:
        """Every event that app *name* was handed."""
        file = self.out / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def numbers(self, name: str) -> set[int]:
        return {one["n"] for one in self.handed(name)}

    def wait(self, name: str, numbers: set[int]) -> None:
        until(lambda: numbers <= self.numbers(name), what=f"{name} was handed {sorted(numbers)[:20]}")

    def wait_idle(self, *names: str) -> None:
        for name in names:
            until(lambda name=name: not self.running(name), what=f"{name} at zero")

    def running(self, name: str) -> list[int]:
        """Pids of the processes of app *name*."""
        mark = f"OUT={self.out / name}".encode()
        return [pid for pid, _, _ in processes() if mark in _environment(pid)]

    def listeners(self) -> dict[int, int]:
        """Port -> pid, of all proxies of the platform."""
        return {port: pid for pid in self.platform.planes() for port in listening.ports_of([pid])}

    def close(self) -> None:
        self.platform.down()

    def _sdk(self, name: str, requirement: str, annotations: Mapping[str, str], file: str = "") -> World:
        file = file or f"{name}.py"
        self._app(name, file, ["python", file], annotations)
        (self.platform.project / name / "requirements.txt").write_text(f"{requirement}\n")
        installed(tuple(sorted(requirement.splitlines())))
        return self

    def _app(
        self, name: str, file: str, command: list[str], annotations: Mapping[str, str], triggers: str = "{}"
    ) -> World:
        folder = self.platform.project / name
        folder.mkdir()
        shutil.copy(HERE / file, folder / file)
        self._documents.append(
            FUNCTION.format(
                name=name,
                folder=name,
                out=self.out / name,
                annotations=json.dumps(dict(annotations)),
                triggers=triggers,
                command=json.dumps(command),
            )
        )
        return self


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def installed(requirements: tuple[str, ...]) -> None:
    """Make the environment of a program beforehand, which may take a while where nothing is cached."""
    try:
        asyncio.run(Environments().ensure(requirements, framework=False))
    except NoEnvironment as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a package index: {error}")
