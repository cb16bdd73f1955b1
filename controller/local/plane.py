"""Proxy and gateway of one machine in one process and one loop: ``python -m controller.local.plane``.

Two agents on the control stream; they share the process because each costs an interpreter's memory. More processes that
only deliver (``--roles proxy``) are the way to more cores.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from api import platform
from controller.local.app_listeners import socket_of
from controller.local.paths import Paths
from controller.local.secrets import Secrets
from gateway.main import GatewaySettings
from gateway.main import run as run_gateway
from proxy.agent import ProxyAgent
from proxy.heap import shorten_pauses
from proxy.main import run as run_proxy
from proxy.settings import ProxySettings

log = logging.getLogger("plane")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor says."""

    state: Path
    run: Path
    name: str = "plane-0"
    roles: tuple[str, ...] = ("proxy", "gateway")


def parts(settings: Settings) -> dict[str, Coroutine[Any, Any, None]]:
    """The roles of this process, ready to run; the first plane serves what there can be only one of."""
    here = platform.load(settings.state)
    if here is None:
        raise SystemExit(f"{settings.state} has no platform.json; start with `evoke up`")
    paths = Paths(settings.state, settings.run)
    secrets = Secrets(paths.secrets)
    number = settings.name.rpartition("-")[2]
    proxies: list[ProxyAgent] = []
    made: dict[str, Coroutine[Any, Any, None]] = {}
    if "proxy" in settings.roles:
        first = number == "0"
        agent = f"proxy-{number}"
        proxy = ProxySettings(
            control=paths.socket("control"),
            cache=paths.state / "snapshots" / agent,
            agent=agent,
            operations=paths.socket(settings.name),
            dapr_socket=paths.socket(socket_of(agent)),
            dapr=here.dapr if first else None,
            dapr_grpc=here.dapr_grpc if first else None,
            platform=here,
            resolve=secrets.resolve,
            keeper=secrets.values,
            folder=paths.state.absolute().parent,
        )
        made[agent] = run_proxy(proxy, proxies.append)
    if "gateway" in settings.roles:
        agent = f"gateway-{number}"
        gateway = GatewaySettings(
            http=here.http,
            control=paths.socket("control"),
            cache=paths.state / "snapshots" / agent,
            agent=agent,
            platform=here,
            resolve=secrets.resolve,
            triggers=lambda: (one for proxy in proxies for one in proxy.readings()),
            calls=lambda: (one for proxy in proxies for one in proxy.runtime.calls.readings()),
        )
        made[agent] = run_gateway(gateway)
    return made


async def serve(settings: Settings) -> None:
    """Run all roles until SIGTERM or SIGINT, or until one of them fails."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tasks = [asyncio.create_task(part, name=name) for name, part in parts(settings).items()]
    waiting = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, waiting):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done - {waiting}:
        task.result()  # a role that ended by itself says why


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="plane")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--name", default="plane-0")
    parser.add_argument("--roles", type=lambda text: tuple(text.split(",")), default=("proxy", "gateway"))
    settings = Settings(**vars(parser.parse_args()))
    level = os.environ.get("EVOKE_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    shorten_pauses()
    uvloop.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
