"""Rows of bad events through the gateway: to a function that takes events by HTTP, and to a webhook."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from api.frames import Endpoint
from functions_framework.app import App
from functions_framework.loader import load
from functions_framework.server import Server
from tests.bad_input.corpus import EVERY, Row, structured
from tests.bad_input.corpus import event as members
from tests.gateway.test_webhooks import PATH, hook, serve
from tests.gateway.world import REVISION, World, run, world

HANG = 2.0
"""Seconds; against hangs only."""
BY_GATEWAY = {"48 200 extensions", "49 raw UTF-8"}
"""Refused as HTTP already: 128 header lines at most, of ASCII."""
SOURCE = """
import functions_framework as ff

@ff.cloud_event
def main(event):
    assert event["id"] == "1"
"""


@asynccontextmanager
async def function(here: World) -> AsyncIterator[None]:
    """Serve SOURCE on a Unix socket and tell the gateway of it."""
    source = here.folder / "main.py"
    source.write_text(SOURCE)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(here.folder / "function.sock"))
    server = Server(App(load(str(source), "main"), {}))
    await server.start([listener])
    address = f"unix:{here.folder / 'function.sock'}"
    here.controller.endpoints(REVISION, [Endpoint(replica="f", address=address, credit=32)])
    try:
        yield
    finally:
        await server.drain()


async def sent(here: World, path: str, row: Row) -> tuple[int, str]:
    lines = [(name.encode(), value.encode("latin-1")) for name, value in row.headers]
    begun = time.monotonic()
    response = await here.client.request(here.address, "POST", path, lines, row.body, timeout=10)
    text = (await response.read(1 << 20)).decode()
    assert time.monotonic() - begun < HANG
    return response.status, text


async def refused(here: World, path: str, ok: int) -> None:
    """Every row has its answer, and after all of them a good event is taken."""
    for name, row in EVERY.items():
        status, text = await sent(here, path, row)
        wanted = ok if row.status == 200 else row.status
        assert status == wanted, (name, text)
        if row.says and name not in BY_GATEWAY:
            said = json.loads(text)["error"]["message"] if text.startswith("{") else text
            assert row.says in said, (name, text)
        assert "Traceback" not in text
    assert (await sent(here, path, structured(ok, None, members())))[0] == ok


def test_a_function_that_takes_events_by_http(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here, function(here):
            await refused(here, "/function/default/hello/", 200)

    run(scenario())


def test_a_webhook(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await serve(here, hook())
            await asyncio.wait_for(refused(here, PATH, 202), 60)

    run(scenario())
