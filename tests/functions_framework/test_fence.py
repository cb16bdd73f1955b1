"""A replaced owner is refused, and its successor hears which keys still run for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from functions_framework.app import App
from functions_framework.message import Reply
from tests.functions_framework.harness import app, request, serve

SOURCE = """
    import asyncio
    import functions_framework as ff
    gate = asyncio.Event()

    @ff.cloud_event
    async def handle(event):
        await gate.wait()
"""


def event(key: str, number: int = 1) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"{key}{number}", "source": "/s", "type": "t", "partitionkey": key}


def asked(epoch: int, trigger: str = "default/t") -> Any:
    return request("GET", "/evoke/fence", evoke_epoch=str(epoch), evoke_trigger=trigger)


def test_keys_that_run_for_an_older_owner_are_told_until_they_end(tmp_path: Path) -> None:
    application = app(tmp_path, SOURCE)

    async def work(running: App) -> list[Reply]:
        headers = {"evoke_epoch": "4", "evoke_trigger": "default/t"}
        structured = "application/cloudevents+json"
        single = request("POST", "/", event("a"), content_type=structured, **headers)
        bulk = {"entries": [{"entryId": str(n), "event": event("bc"[n])} for n in range(2)]}
        tasks = [
            asyncio.create_task(running.handle(single)),
            asyncio.create_task(running.handle(request("POST", "/", bulk, content_type="application/json", **headers))),
        ]
        while running._runners["handle"].slots.busy < 3:  # noqa: ASYNC110 - the slots have no event for it
            await asyncio.sleep(0)
        found = [await running.handle(asked(4)), await running.handle(asked(5)), await running.handle(asked(5, "x/y"))]
        running.draining = True
        found.append(await running.handle(asked(5)))
        found.append(await running.handle(asked(4)))
        running.loaded.module.gate.set()
        await asyncio.gather(*tasks)
        found.append(await running.handle(asked(5)))
        return found

    same, newer, other, draining, older, ended = serve(application, work)
    assert told(same) == told(other) == told(ended) == {"keys": [], "overdue": 0}
    assert told(newer) == told(draining) == {"keys": ["a", "b", "c"], "overdue": 0}
    assert (older.status, (b"evoke-epoch", b"5") in older.headers) == (409, True)


def told(reply: Reply) -> Any:
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)
