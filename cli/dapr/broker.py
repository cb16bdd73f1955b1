"""The embedded broker of one run: what is durable in it stands in the state folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from api import platform
from controller.local import environments, prepare
from controller.local.paths import Paths
from controller.local.processes import die_with_parent
from eventbus import embedded

STOP = 10.0
"""Seconds until it is killed."""


@contextlib.asynccontextmanager
async def running(paths: Paths, here: platform.Platform) -> AsyncIterator[None]:
    """Start it, and stop it when what uses it has ended."""
    settings = prepare.broker(paths, here)
    config = paths.state / "nats.conf"
    await asyncio.to_thread(embedded.write_config, config, settings)
    cache = environments.cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    command = await asyncio.to_thread(embedded.command, config, cache=cache / "nats-server.json")
    with paths.log("nats").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
            preexec_fn=die_with_parent,
        )
    try:
        await embedded.wait_ready(settings)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
