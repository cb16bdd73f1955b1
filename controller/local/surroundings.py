"""The environment variables of a replica: its own, OpenFunction's, and where the Dapr API is; pure.

A handler of ours is told the socket of its proxy; an app in any language finds what a sidecar would have given it
(docs.dapr.io, environment variable reference), at addresses where whoever connects speaks as that app.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from api.frames import AppListener
from api.model import App, Workload
from api.platform import LOOPBACK, Platform
from controller.local.environments import Environment

IMPORT_SHARE = 0.9
"""Part of serving.timeout that an import may take: it says where it hangs before the start as a whole is given up."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica is surrounded by."""

    platform: Platform
    socket: Path
    """Of the Dapr API, at the home proxy of the function."""
    app: App
    listener: AppListener | None = None
    """Of a program."""


def of_handler(workload: Workload, own: Mapping[str, str], place: Place) -> dict[str, str]:
    """Of a replica in Python; *own* is what the function declares, secrets resolved."""
    return {
        "EVOKE_IMPORT_TIMEOUT": f"{IMPORT_SHARE * workload.start_timeout.total_seconds():g}",
        **own,
        **_named(workload, place),
        "FUNCTION_TARGET": workload.target,
        "PORT": str(workload.port),
        "DAPR_HTTP_ENDPOINT": f"http://{place.platform.dapr}",
        "DAPR_GRPC_ENDPOINT": place.platform.dapr_grpc,
        "EVOKE_DAPR_SOCKET": str(place.socket),
        "EVOKE_LOG": "json",
        "EVOKE_GRACE": str(math.ceil(workload.grace.total_seconds())),
    }


def of_program(
    workload: Workload, own: Mapping[str, str], place: Place, environment: Environment, path: str
) -> dict[str, str]:
    """Of any other program; its ports come with its start. *path* is the platform's PATH."""
    bare = {"PYTHONUNBUFFERED": "1", **own}  # else its words wait in a buffer until it ends
    found = {
        **bare,
        **_named(workload, place),
        "PATH": f"{environment.python.parent}:{bare.get('PATH', path)}",
        "VIRTUAL_ENV": str(environment.path),
        "APP_ID": place.app.id,
        "APP_PROTOCOL": workload.protocol,
        "APP_CHANNEL_ADDRESS": LOOPBACK,
        "DAPR_RUNTIME_HOST": LOOPBACK,
    }
    if place.listener is not None:
        http, grpc = place.listener.http, place.listener.grpc
        found |= {
            "DAPR_HTTP_PORT": http.rpartition(":")[2],
            "DAPR_GRPC_PORT": grpc.rpartition(":")[2],
            "DAPR_HTTP_ENDPOINT": f"http://{http}",
            "DAPR_GRPC_ENDPOINT": grpc,  # a scheme makes the SDK for Python warn
        }
    return found


def _named(workload: Workload, place: Place) -> dict[str, str]:
    key = workload.key
    return {
        "FUNC_CONTEXT": workload.context.decode(),
        "POD_NAMESPACE": key.namespace,
        "K_SERVICE": key.function,
        "K_REVISION": f"{key.function}-{key.revision}",
        "DAPR_API_TOKEN": place.platform.token(key.function_key),
    }
