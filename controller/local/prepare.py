"""One run before every start of a platform: addresses, the broker's configuration, the base environment.

Prints the children of the supervisor, in the order of their start, as a JSON list of :class:`Child`. A process of its
own, so that the supervisor stays small.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import get_args

import msgspec

from api import platform
from api.errors import EvokeError
from controller.errors import PortTaken
from controller.local import environments, sqlite
from controller.local.app_ports import AppPorts
from controller.local.paths import Paths, prepare
from controller.local.zygotes import inherited
from eventbus import embedded

LONG_LOG = 8 << 20
"""Bytes after which a process's log is put aside at the next start."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One process that the supervisor keeps running; *env* None: ours."""

    name: str
    argv: list[str]
    log: str
    env: dict[str, str] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `evoke up` was told."""

    state: Path
    port: int | None = None
    """Port of the gateway; None: the last one, else 8080, else any."""
    proxies: int = 0
    """Processes that only deliver, beside the first plane."""
    durability: platform.Durability = "sync"
    watch: bool = True
    """Whether source folders are polled for changes."""


def children(settings: Settings) -> list[Child]:
    """Prepare everything and name the processes."""
    paths = prepare(settings.state)
    if settings.port is not None and not platform.free(settings.port):
        raise PortTaken(settings.port)
    _rotate(paths)
    here = platform.choose(platform.load(paths.state), http_port=settings.port, durability=settings.durability)
    platform.save(paths.state, here)
    _renew(paths)
    config = paths.state / "nats.conf"
    embedded.write_config(config, broker(paths, here))
    base = asyncio.run(environments.Environments().ensure(log=paths.log("environment")))
    environments.link(paths.state / "env", base)
    zygote = [str(base.python), "-P", "-m", "functions_framework.zygote", "--socket", str(paths.socket("zygote"))]
    told = ["--proxies", str(settings.proxies), *([] if settings.watch else ["--no-watch"])]
    return [
        _child(paths, "nats", embedded.command(config, cache=environments.cache_directory() / "nats-server.json")),
        _child(paths, "zygote", zygote, env=inherited()),
        _child(paths, "controller", _ours("controller.local.main", paths) + told),
        _child(paths, "plane-0", [*_ours("controller.local.plane", paths), "--name", "plane-0"]),
        *(
            _child(
                paths,
                f"plane-{number}",
                [*_ours("controller.local.plane", paths), "--name", f"plane-{number}", "--roles", "proxy"],
            )
            for number in range(1, settings.proxies + 1)
        ),
    ]


def _renew(paths: Paths) -> None:
    """Let go of the ports of apps that somebody else has taken since; nothing of ours listens yet."""
    if paths.database.exists():
        with closing(sqlite.connect(paths.database)) as db:
            AppPorts(db, seed=str(paths.state)).renew()


def _rotate(paths: Paths) -> None:
    """Put logs of earlier starts aside once they are long; one older file is kept of each."""
    for log in (paths.state / "logs").glob("*.log"):
        if log.stat().st_size > LONG_LOG:
            log.replace(log.with_suffix(".log.old"))


def broker(paths: Paths, here: platform.Platform) -> embedded.Settings:
    """Settings of the embedded broker of this platform."""
    return embedded.Settings(
        store=paths.state / "nats",
        nats=here.nats,
        mqtt=here.mqtt,
        user=here.nats_user,
        password=here.nats_password,
        durability=here.durability,
    )


def _ours(module: str, paths: Paths) -> list[str]:
    return [sys.executable, "-P", "-m", module, "--state", str(paths.state), "--run", str(paths.run)]


def _child(paths: Paths, name: str, argv: list[str], env: dict[str, str] | None = None) -> Child:
    return Child(name=name, argv=argv, log=str(paths.log(name)), env=env)


def main() -> int:
    """Command line of the supervisor, passed on as it is."""
    parser = argparse.ArgumentParser(prog="evoke up")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--proxies", type=int, default=0)
    parser.add_argument("--durability", choices=get_args(platform.Durability), default="sync")
    parser.add_argument("--no-watch", dest="watch", action="store_false")
    try:
        found = children(Settings(**vars(parser.parse_args())))
    except (EvokeError, OSError) as error:
        sys.stderr.write(f"evoke: {error}\n")
        return 1
    os.write(1, msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
