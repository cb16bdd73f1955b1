"""A real daprd beside one app, on free ports, with resources of its own."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import yaml

from api.platform import LOOPBACK, spare
from tests.servers import Server, missing

Bus: TypeAlias = Callable[[Sequence[str]], dict[str, Any]]
"""Makes topics and answers the component that reaches them."""

VERSION = "1.14.0"
READY_WITHIN = 60.0
QUIET = {
    "apiVersion": "dapr.io/v1alpha1",
    "kind": "Configuration",
    "metadata": {"name": "quiet"},
    # the default announces the app by multicast
    "spec": {"nameResolution": {"component": "kubernetes", "version": "v1"}, "metric": {"enabled": False}},
}


def program() -> Path:
    """Where scripts/daprd put it; skips the test without it, fails it when CI=true."""
    cache = Path(os.environ.get("EVOKE_CACHE") or Path.home() / ".cache/evoke")
    found = cache / "components" / f"daprd-{VERSION}" / "daprd"
    if not found.exists():
        missing("needs a real daprd: run scripts/daprd (Go 1.22)")
    return found


class Daprd(Server):
    """One sidecar; with *app* it calls an app at that port."""

    name = "daprd"

    def __init__(
        self,
        directory: Path,
        app_id: str,
        resources: Sequence[Mapping[str, Any]],
        *,
        app: int = 0,
        protocol: str = "http",
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self.http, self.grpc = spare(), spare()
        folder = directory / "resources"
        folder.mkdir()
        for number, resource in enumerate(resources):
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(dict(resource)))
        (directory / "config.yaml").write_text(yaml.safe_dump(QUIET))
        ports = {"http": self.http, "grpc": self.grpc, "internal-grpc": spare()}
        self._command = [str(program()), "--app-id", app_id, "--resources-path", str(folder)]
        self._command += ["--config", str(directory / "config.yaml"), "--log-level", "warn"]
        self._command += ["--dapr-listen-addresses", LOOPBACK, "--dapr-internal-grpc-listen-address", LOOPBACK]
        self._command += [word for name, port in ports.items() for word in (f"--dapr-{name}-port", str(port))]
        self._command += ["--enable-metrics=false", "--app-protocol", protocol, *flags]
        if app:
            self._command += ["--app-port", str(app)]

    @property
    def environ(self) -> dict[str, str]:
        """What an app beside it is told."""
        return {"DAPR_HTTP_PORT": str(self.http), "DAPR_GRPC_PORT": str(self.grpc)}

    def start(self) -> None:
        """Start it and wait until app and components are there."""
        self._launch(self._command)
        self._wait_ready(self._healthy, READY_WITHIN)

    def _healthy(self) -> bool:
        try:
            return self.request("GET", "/v1.0/healthz")[0] == 204
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json", **metadata: str
    ) -> tuple[int, bytes]:
        """Status and body; *metadata* goes into the query."""
        connection = http.client.HTTPConnection(LOOPBACK, self.http, timeout=30)
        query = urlencode({f"metadata.{name}": value for name, value in metadata.items()})
        try:
            connection.request(method, path + (f"?{query}" if query else ""), body, {"content-type": kind})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def publish(self, topic: str, body: Any, kind: str = "application/json", **metadata: str) -> None:
        """Publish on the pub/sub component ``bus``."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer = self.request("POST", f"/v1.0/publish/bus/{topic}", raw, kind, **metadata)
        assert status == 204, answer


def component(kind: str, metadata: Mapping[str, str], name: str = "bus") -> dict[str, Any]:
    """A Component resource."""
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {
            "type": kind,
            "version": "v1",
            "metadata": [{"name": key, "value": value} for key, value in metadata.items()],
        },
    }


def subscription(topic: str, *, bulk: bool = False, dead_letter: str = "", route: str = "/") -> dict[str, Any]:
    """A Subscription resource on ``bus``."""
    spec: dict[str, Any] = {"pubsubname": "bus", "topic": topic, "routes": {"default": route}}
    if bulk:
        spec["bulkSubscribe"] = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 200}
    if dead_letter:
        spec["deadLetterTopic"] = dead_letter
    return {"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": topic}, "spec": spec}
