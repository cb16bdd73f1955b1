"""Run source text as a function, in this process: load it, ask it, look at the answer."""

from __future__ import annotations

import asyncio
import json
import textwrap
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from functions_framework.app import App
from functions_framework.loader import load
from functions_framework.message import Reply, Request


def write(directory: Path, source: str, name: str = "main.py") -> Path:
    """Write the source of a function and return its path."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


def app(directory: Path, source: str, target: str = "", *, environ: Mapping[str, str] | None = None, **how: Any) -> App:
    """App of a source text."""
    return App(load(write(directory, source), target, **how), environ or {})


def serve(application: App, work: Callable[[App], Coroutine[Any, Any, Any]]) -> Any:
    """Run *work* with the app started, and stop the app."""

    async def running() -> Any:
        application.start()
        try:
            return await work(application)
        finally:
            await application.stop()

    return asyncio.run(running())


def ask(application: App, *requests: Request) -> list[Reply]:
    """Answer requests one after the other."""

    async def work(running: App) -> list[Reply]:
        return [await running.handle(request) for request in requests]

    found: list[Reply] = serve(application, work)
    return found


def request(
    method: str = "POST",
    path: str = "/",
    body: bytes | str | dict[str, Any] | list[Any] = b"",
    **headers: str,
) -> Request:
    """Request with headers as keywords: underscores become hyphens."""
    if isinstance(body, dict | list):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    path, _, query = path.partition("?")
    listed = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request(method, path, [(b"host", b"localhost"), *listed], raw, query=query.encode())


def event(**members: Any) -> dict[str, Any]:
    """Members of a structured event."""
    return {"specversion": "1.0", "id": "1", "source": "/test", "type": "test", **members}


def structured(members: dict[str, Any] | list[Any], **headers: str) -> Request:
    """Request that carries a structured event, or a batch of them."""
    kind = "application/cloudevents-batch+json" if isinstance(members, list) else "application/cloudevents+json"
    return request(body=members, content_type=kind, **headers)


def bulk(events: list[dict[str, Any]], *, trigger: str = "t", **headers: str) -> Request:
    """Bulk delivery from the proxy; the entry ids are e0, e1..."""
    entries = [
        {"entryId": f"e{i}", "event": e, "contentType": "application/cloudevents+json", "metadata": {}}
        for i, e in enumerate(events)
    ]
    body = {"id": "b", "entries": entries, "type": "com.dapr.event.sent.bulk", "topic": "x", "pubsubname": "default"}
    return request(body=body, content_type="application/json", evoke_trigger=trigger, **headers)


def statuses(reply: Reply) -> dict[str, str]:
    """Entry id -> status of a bulk reply."""
    assert isinstance(reply.body, bytes)
    assert reply.status == 200, reply.body
    return {status["entryId"]: status["status"] for status in json.loads(reply.body)["statuses"]}


def text(reply: Reply) -> str:
    """Body as text."""
    assert isinstance(reply.body, bytes)
    return reply.body.decode()


def answer(reply: Reply) -> Any:
    """Body as JSON."""
    return json.loads(text(reply))
