"""An App behind the ASGI interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from functions_framework.app import App
from functions_framework.message import Reply, Request, text_reply
from functions_framework.server import MAX_BODY

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def asgi_app(app: App) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    """Return an ASGI 3 application."""

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(app, receive, send)
        elif scope["type"] == "http":
            app.start()
            await _answer(await _reply(app, scope, receive), send)

    return application


async def _lifespan(app: App, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await app.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _reply(app: App, scope: dict[str, Any], receive: Receive) -> Reply:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Reply(400)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return text_reply(f"the body is larger than {MAX_BODY} bytes", 413)
    client = scope.get("client")
    request = Request(
        scope["method"],
        scope["path"],
        [(bytes(n), bytes(v)) for n, v in scope["headers"]],
        bytes(body),
        query=scope.get("query_string", b""),
        raw_path=scope.get("raw_path") or b"",
        client=client[0] if client else "",
        secure=scope.get("scheme") == "https",
    )
    return await app.handle(request)


async def _answer(reply: Reply, send: Send) -> None:
    headers = list(reply.headers)
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if isinstance(reply.body, bytes):
        await send({"type": "http.response.body", "body": reply.body})
        return
    stream: AsyncIterator[bytes] = reply.body
    async for chunk in stream:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
