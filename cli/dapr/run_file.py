"""Dapr's multi-app run file (``dapr run -f dapr.yaml``, version 1) -> the apps; paths are relative to where they stand.

Source: https://docs.dapr.io/developing-applications/local-development/multi-app-dapr-run/multi-app-template/
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from api.yaml_reader import Reader
from cli.dapr.settings import AppRun, BadRun
from cli.errors import MissingFile

NAMES = ("dapr.yaml", "dapr.yml")
"""What a folder is looked through for."""
_SIDECAR = ("metricsPort", "profilePort", "enableProfiling", "placementHostAddress", "schedulerHostAddress")
_UNREAD = (
    *_SIDECAR,
    "appLogDestination",
    "daprdLogDestination",
    "daprdInternalGRPCPort",
    "containerImage",
    "runtimePath",
)
"""Of a process per app, of logs in files, of Kubernetes: read, and without effect."""


class Shared(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What stands for one app, or in ``common`` for all."""

    app_protocol: str = ""
    resources_path: str = ""
    resources_paths: list[str] = []
    config_file_path: str = ""
    env: dict[str, Any] = {}
    log_level: str = ""
    app_max_concurrency: int = 0
    enable_app_health_check: bool = False
    app_health_check_path: str = ""
    app_health_probe_interval: int = 0
    app_health_probe_timeout: int = 0
    app_health_threshold: int = 0
    max_body_size: str | int = ""
    enable_api_logging: bool = False


class Entry(Shared, frozen=True, kw_only=True, rename="camel"):
    """One app."""

    app_dir_path: str
    app_id: str = msgspec.field(default="", name="appID")
    app_port: int = 0
    dapr_http_port: int = msgspec.field(default=0, name="daprHTTPPort")
    dapr_grpc_port: int = msgspec.field(default=0, name="daprGRPCPort")
    app_channel_address: str = ""
    command: list[str] = []


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    version: int
    apps: list[Entry]
    common: Shared = Shared()


def find(path: Path) -> Path:
    """The file itself, or that of a folder. Raises MissingFile."""
    if path.is_dir():
        found = next((path / name for name in NAMES if (path / name).is_file()), None)
        if found is None:
            raise MissingFile(path / NAMES[0])
        return found
    if not path.is_file():
        raise MissingFile(path)
    return path


def load(path: Path) -> tuple[AppRun, ...]:
    """The apps of a run file. Raises BadRun with the place."""
    reader = Reader(str(path))
    nodes = list(reader.documents(path.read_bytes()))
    if reader.problems or len(nodes) != 1:
        raise BadRun(str(reader.problems[0]) if reader.problems else f"{path}: expected one YAML document")
    plain = nodes[0].plain()
    _known(plain, path)
    try:
        found = msgspec.convert(plain, RunFile, strict=False)
    except msgspec.ValidationError as error:
        raise BadRun(f"{path}: {error}") from None
    if found.version != 1:
        raise BadRun(f"{path}: version {found.version} is not known", hint="write version: 1")
    if not found.apps:
        raise BadRun(f"{path}: there is no app")
    return tuple(_app(one, found.common, path.absolute().parent) for one in found.apps)


def _known(plain: Any, path: Path) -> None:
    """Refuse misspelt fields; those without effect here are known."""
    shared = {field.encode_name for field in msgspec.structs.fields(Shared)} | set(_UNREAD)
    own = {field.encode_name for field in msgspec.structs.fields(Entry)} | shared
    if not isinstance(plain, dict):
        raise BadRun(f"{path}: expected version, common and apps")
    groups = [("", plain, {"version", "common", "apps"}), ("common", plain.get("common"), shared)]
    apps = plain.get("apps")
    groups += [(f"apps[{n}]", one, own) for n, one in enumerate(apps if isinstance(apps, list) else ())]
    for place, group, known in groups:
        for name in group if isinstance(group, dict) else ():
            if name not in known:
                raise BadRun(
                    f"{path}: {place}.{name} is not known".replace(": .", ": "), hint="see Dapr's run template"
                )


def _app(entry: Entry, common: Shared, base: Path) -> AppRun:
    folder = base / entry.app_dir_path
    if not folder.is_dir():
        raise MissingFile(folder)
    own = [folder / one for one in (entry.resources_path, *entry.resources_paths) if one]
    usual = [folder / ".dapr" / "resources"] if (folder / ".dapr" / "resources").is_dir() else []
    shared = [base / one for one in (common.resources_path, *common.resources_paths) if one]
    config = folder / entry.config_file_path if entry.config_file_path else None
    if config is None and common.config_file_path:
        config = base / common.config_file_path
    protocol = entry.app_protocol or common.app_protocol or "http"
    if protocol not in {"http", "grpc"}:
        raise BadRun(f"appProtocol {protocol} is not supported", hint="http or grpc: proxy and app share a machine")
    return AppRun(
        id=entry.app_id or folder.resolve().name,
        command=tuple(entry.command),
        folder=folder,
        env={name: str(value) for name, value in (common.env | entry.env).items()},
        port=entry.app_port,
        protocol="grpc" if protocol == "grpc" else "http",
        http=entry.dapr_http_port,
        grpc=entry.dapr_grpc_port,
        resources=tuple(own or usual or shared),
        config=(config,) if config else (),
        concurrency=max(entry.app_max_concurrency or common.app_max_concurrency, 0),
        health=entry.enable_app_health_check or common.enable_app_health_check,
        health_path=entry.app_health_check_path or common.app_health_check_path,
        health_interval=entry.app_health_probe_interval or common.app_health_probe_interval,
        health_timeout=entry.app_health_probe_timeout or common.app_health_probe_timeout,
        health_threshold=entry.app_health_threshold or common.app_health_threshold,
        max_body=str(entry.max_body_size or common.max_body_size or ""),
    )
