"""The ASGI door: the same answers behind any ASGI server."""

from __future__ import annotations

import asyncio
from typing import Any

from functions_framework.asgi import asgi_app
from tests.functions_framework.harness import app

SOURCE = """
    import functions_framework as ff

    @ff.http
    async def view(request):
        if request.path == "/stream":
            return parts()
        return request.get_data(), 201

    async def parts():
        yield "a"
        yield "b"
"""


def call(application: Any, path: str, *chunks: bytes) -> list[dict[str, Any]]:
    """Send one request in chunks; returns what the application sent."""

    async def main() -> list[dict[str, Any]]:
        waiting = [{"type": "http.request", "body": c, "more_body": i < len(chunks) - 1} for i, c in enumerate(chunks)]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"x")], "query_string": b""}
        await application(scope, receive, send)
        return sent

    return asyncio.run(main())


def test_a_request_in_chunks_and_a_whole_reply(tmp_path):
    start, body = call(asgi_app(app(tmp_path, SOURCE)), "/", b"hel", b"lo")

    assert start["status"] == 201
    assert (b"content-length", b"5") in start["headers"]
    assert body == {"type": "http.response.body", "body": b"hello"}


def test_a_streamed_reply(tmp_path):
    start, *bodies = call(asgi_app(app(tmp_path, SOURCE)), "/stream", b"")

    assert b"content-length" not in dict(start["headers"])
    assert [b["body"] for b in bodies] == [b"a", b"b", b""]


def test_lifespan(tmp_path):
    async def main() -> list[str]:
        waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent: list[str] = []

        async def receive() -> dict[str, str]:
            return waiting.pop(0)

        async def send(message: dict[str, str]) -> None:
            sent.append(message["type"])

        await asgi_app(app(tmp_path, SOURCE))({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(main()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
