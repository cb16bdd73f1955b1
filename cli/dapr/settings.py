"""What one app of ``evoke dapr run`` was told, and the Function it stands for; pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from api.errors import EvokeError
from api.meta import Key

NAMESPACE = "default"
IMAGE = "dapr-run"
"""Stands where a Function names its code: the program is on this machine, and there is nothing to build."""
Level: TypeAlias = Literal["debug", "info", "warn", "error", "fatal", "panic"]


class AppRun(msgspec.Struct, frozen=True, kw_only=True):
    """One app; ports are 0 where nothing was said."""

    id: str
    command: tuple[str, ...] = ()
    """Empty: only the API is served, for an app that somebody else starts, or for none."""
    folder: Path
    env: dict[str, str] = {}
    port: int = 0
    protocol: Literal["http", "grpc"] = "http"
    http: int = 0
    grpc: int = 0
    resources: tuple[Path, ...] = ()
    config: tuple[Path, ...] = ()
    log_level: Level = "info"
    concurrency: int = 0
    """Events and requests at once; 0: our default for the protocol."""
    health: bool = False
    health_path: str = ""
    health_interval: int = 0
    """Seconds; 0: Dapr's default, as of the next two."""
    health_timeout: int = 0
    """Milliseconds."""
    health_threshold: int = 0
    max_body: str = ""
    """A quantity such as ``16Mi``."""
    api_logging: bool = False

    @property
    def key(self) -> Key:
        """Of the Function: app ids may hold what names may not."""
        name = re.sub(r"[^a-z0-9]+", "-", self.id.lower()).strip("-")
        return Key(NAMESPACE, name[:40] or "app")

    def function(self, configuration: str) -> dict[str, Any]:
        """The resource; *configuration* names a Configuration, or is empty."""
        container = {"name": "function", "command": list(self.command) or ["true"]}
        return {
            "apiVersion": "core.openfunction.io/v1beta2",
            "kind": "Function",
            "metadata": {"name": self.key.name, "namespace": NAMESPACE},
            "spec": {
                "image": IMAGE,
                "serving": {
                    "annotations": self._annotations(configuration),
                    "template": {"containers": [container]},
                    "triggers": {},
                },
            },
        }

    def _annotations(self, configuration: str) -> dict[str, str]:
        found = {
            "app-id": self.id,
            "app-port": self.port,
            "app-protocol": self.protocol,
            "app-max-concurrency": self.concurrency,
            "enable-app-health-check": "true" if self.health else "",
            "app-health-check-path": self.health_path,
            "app-health-probe-interval": self.health_interval,
            "app-health-probe-timeout": self.health_timeout,
            "app-health-threshold": self.health_threshold,
            "max-body-size": self.max_body,
            "config": configuration,
        }
        return {f"dapr.io/{name}": str(value) for name, value in found.items() if value}


class BadRun(EvokeError):
    """What an app was told cannot be done (E155)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code="E155", hint=hint)


def check(apps: tuple[AppRun, ...]) -> None:
    """Raise BadRun unless *apps* can run beside each other."""
    for name, found in (
        ("app id", [app.id for app in apps]),
        ("app port", [str(app.port) for app in apps if app.port]),
        ("port", [str(port) for app in apps for port in (app.http, app.grpc) if port]),
    ):
        for one in found:
            if found.count(one) > 1:
                raise BadRun(f"{name} {one} is given twice", hint="each needs its own")
    if len({app.key for app in apps}) < len(apps):
        raise BadRun("two app ids differ in capitals or signs only", hint="give one of them another name")
