"""Dapr's annotations of a Function (serving.annotations): what program it is, and how the Dapr API knows it; pure.

A Function with a command is a program in any language, a Dapr app; without one it is handlers of functions_framework,
and of the annotations those hold that say who it is and what it may do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Literal, TypeVar

import msgspec

from api import quantities
from api.errors import Problem
from api.kinds.openfunction import ServingBody
from api.meta import Key, SecretKeyRef
from api.model import App, AppHealth, Env
from api.structure import similar
from controller.readers.workload import own_container

PREFIX = "dapr.io/"
FIELD = "spec.serving.annotations"
VARIABLE = "APP_API_TOKEN"
"""Variable that tells an app what its caller sends."""

BODY = 4 << 20
"""Bytes of a request to the API where nothing else is said; Dapr's default."""

_SIDECAR = "it is about a sidecar, and there is none: one proxy serves all functions"
_OURS = "the platform gives every function a token of its own, as DAPR_API_TOKEN"
_APP_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PATH = re.compile(r"[^\x00-\x20\x7f]{1,256}")
_READ = (
    "app-id",
    "app-port",
    "app-protocol",
    "app-max-concurrency",
    "enable-app-health-check",
    "app-health-check-path",
    "app-health-probe-interval",
    "app-health-probe-timeout",
    "app-health-threshold",
    "app-token-secret",
    "config",
    "max-body-size",
    "http-max-request-size",
)
_QUIET = ("enabled",)
"""Says that there is to be a sidecar; every function has what that is for."""
_NOT = {"api-token-secret": _OURS}

Value = TypeVar("Value")


class AppModel(msgspec.Struct, frozen=True, kw_only=True):
    """One Function as an app."""

    app: App
    command: tuple[str, ...] = ()
    """Empty: handlers of functions_framework."""
    port: int = 0
    """0: not told."""
    health: AppHealth | None = None
    concurrency: int = 0
    env: tuple[Env, ...] = ()
    configuration: str = ""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_app(key: Key, serving: ServingBody) -> AppModel:
    """Never raises: what does not hold stands in ``problems``."""
    given = _Annotations(serving.annotations)
    container = own_container(serving)
    command = (*container.command, *container.args)
    token = given.get("app-token-secret", "", _secret)
    app = App(
        key=key,
        id=given.get("app-id", key.name, _app_id),
        protocol=_protocol(given) if command else "evoke",
        token=SecretKeyRef(name=token, key="token") if token and command else "",
        max_body=given.get("http-max-request-size", 0, _mebibytes) or given.get("max-body-size", BODY, _bytes),
    )
    port, health = given.get("app-port", 0, _number(1, 65535)), _health(given)
    return AppModel(
        app=app,
        command=command,
        port=port if command else 0,
        health=health if command else None,
        concurrency=given.get("app-max-concurrency", 0, _number(-1, 10_000)),
        env=(Env(VARIABLE, app.token),) if app.token else (),
        configuration=given.get("config", "", str),
        notes=tuple(given.unread()),
        problems=tuple(given.problems),
    )


class _Annotations:
    """Values by short name, and what is wrong with them."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._texts = {
            name.removeprefix(PREFIX): text.strip()
            for name, text in sorted(annotations.items())
            if name.startswith(PREFIX)
        }
        self.problems: list[Problem] = []

    def get(self, name: str, default: Value, read: Callable[[str], Value]) -> Value:
        if name not in self._texts:
            return default
        try:
            return read(self._texts[name])
        except ValueError as error:
            self.refuse(name, str(error))
            return default

    def refuse(self, name: str, message: str) -> None:
        self.problems.append(Problem(code="E113", path=f"{FIELD}.{PREFIX}{name}", message=message))

    def unread(self) -> Iterator[Problem]:
        """A note for each that changes nothing."""
        for name in self._texts:
            if name not in (*_READ, *_QUIET):
                hint = similar(name, list(_READ))
                reason = _NOT.get(name, _SIDECAR) if not hint else f"it is not known{hint}"
                yield Problem(code="NotHere", path=f"{FIELD}.{PREFIX}{name}", message=reason)


def _protocol(given: _Annotations) -> Literal["http", "grpc"]:
    def read(text: str) -> Literal["http", "grpc"]:
        match text.lower():
            case "http" | "":
                return "http"
            case "grpc":
                return "grpc"
            case "https" | "grpcs" | "h2c":
                plain = "grpc" if text.lower() == "grpcs" else "http"
                raise ValueError(f"{text.lower()} is not supported: proxy and app share a machine, use {plain}")
        raise ValueError(f"`{text[:40]}` is no protocol: http or grpc")

    default: Literal["http", "grpc"] = "http"
    return given.get("app-protocol", default, read)


def _health(given: _Annotations) -> AppHealth | None:
    default = AppHealth()
    found = AppHealth(
        path=given.get("app-health-check-path", default.path, _path),
        every=timedelta(seconds=given.get("app-health-probe-interval", 5, _number(1, 86_400))),
        timeout=timedelta(milliseconds=given.get("app-health-probe-timeout", 500, _number(1, 3_600_000))),
        threshold=given.get("app-health-threshold", default.threshold, _number(1, 1_000_000)),
    )
    if found.timeout > found.every:
        given.refuse("app-health-probe-timeout", "a probe may not take longer than app-health-probe-interval")
    return found if given.get("enable-app-health-check", False, _switch) else None


def _app_id(text: str) -> str:
    if not _APP_ID.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is no app id: letters, digits, `-`, `_` and `.`, at most 63")
    return text


def _secret(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text, re.ASCII):
        raise ValueError("expected the name of a Secret that has the token under the key `token`")
    return text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError("a path has no blanks, and at most 256 characters")
    return text if text.startswith("/") else f"/{text}"


def _switch(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0", "yes", "no", "y", "n", "on", "off"}:
        raise ValueError(f"expected true or false, got `{text[:40]}`")
    return text.lower() in {"true", "1", "yes", "y", "on"}


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"expected a number from {low} to {high}, got `{text[:40]}`")
        return max(int(text), 0)

    return read


def _mebibytes(text: str) -> int:
    return _number(1, 1024)(text) << 20


def _bytes(text: str) -> int:
    size = quantities.whole(text)
    if not 1 <= size <= 1 << 30:
        raise ValueError(f"expected a size such as `16Mi`, at most 1Gi, got `{text[:40]}`")
    return size
