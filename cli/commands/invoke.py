"""``evoke invoke``: one request to a function; the reply on stdout, status and timing on stderr."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Sequence
from typing import IO, Annotated, Any

import typer

from api.errors import NotFound
from cli import payload
from cli.commands.logs import line
from cli.errors import Failed, NotYet, Usage
from cli.options import Session, command_line, new_app
from cli.transport import Reply, send

app = new_app()

CALL = ("x-call-id", "x-request-id")
"""Headers that name the call."""


@command_line(
    app,
    example="""
    evoke invoke hello --path '/?name=Ada'
    evoke invoke store -d @event.json -H 'content-type: application/cloudevents+json'
    """,
)
def invoke(  # noqa: PLR0913, PLR0917 - one parameter per option
    session: Session,
    name: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function.")],
    data: Annotated[str, typer.Option("-d", "--data", metavar="DATA|@FILE|-", help="The body.")] = "",
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="A header.")
    ] = None,
    method: Annotated[str, typer.Option("-X", "--method", help="GET, or POST when there is data.")] = "",
    path: Annotated[str, typer.Option("--path", help="Path and query below the function.")] = "/",
    later: Annotated[bool, typer.Option("--async", help="Queue it: answers once it is stored.")] = False,
    revision: Annotated[str, typer.Option("--revision", help="Only if this revision serves.")] = "",
    logs: Annotated[bool, typer.Option("--logs", help="What the call logged, on stderr.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Exit 0 whatever the status; add no line end.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For the reply.")] = 60,
) -> None:
    """Send one request to a function through the gateway; a function at zero replicas starts for it.

    The reply's body goes to stdout as it is; with -o json: status, call, ms, headers, and data or data_base64.
    """
    headers = read_headers(header or [])
    body = open_body(data)
    if body is not None and "content-type" not in headers:
        headers["content-type"] = payload.media_type(body) if isinstance(body, bytes) else "application/octet-stream"
    if revision:
        require_serving(session, name, revision)
    target = f"/{'async-' if later else ''}function/{session.namespace}/{name}/{path.removeprefix('/')}"
    connection = http.client.HTTPConnection(session.client.platform()["http"], timeout=timeout)
    started = time.monotonic()
    try:
        reply = send(connection, method.upper() or ("GET" if body is None else "POST"), target, body, headers)
    finally:
        if body is not None and not isinstance(body, bytes):
            body.close()
    if session.out.structured:
        session.out.show(described(reply, reply.read(), time.monotonic() - started), "")
    else:
        write(reply, raw=raw)
    finish(session, name, reply, time.monotonic() - started, logs=logs, raw=raw)


def write(reply: Reply, *, raw: bool) -> None:
    """The body as it comes, byte for byte."""
    last = b"\n"
    for chunk in reply.chunks():
        sys.stdout.buffer.write(chunk)
        last = chunk
    if not raw and not last.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


def described(reply: Reply, body: bytes, took: float) -> dict[str, Any]:
    """The reply for -o json: ``status``, ``call``, ``ms``, ``headers``, and ``data`` or ``data_base64``."""
    facts = {"status": reply.status, "call": call_of(reply), "ms": round(took * 1000), "headers": reply.headers}
    return facts | {name: value for name, value in payload.members(body).items() if name != "datacontenttype"}


def call_of(reply: Reply) -> str:
    return next((reply.headers[header] for header in CALL if header in reply.headers), "")


def open_body(data: str) -> bytes | IO[bytes] | None:
    """The body; a file is streamed, however large."""
    return (payload.open_file(data) or payload.read(data)) if data else None


def require_serving(session: Session, name: str, revision: str) -> None:
    """Refuse a revision that the request would not reach: the gateway deals by weight only."""
    wanted = revision.rpartition("-")[2]
    shares = {
        str(one["name"]).rpartition("-")[2]: one.get("traffic") for one in session.client.function(name)["revisions"]
    }
    if wanted not in shares:
        hint = f"there is {', '.join(sorted(shares)) or 'none yet'}"
        raise NotFound(f"function/{name} has no revision {wanted}", code="E194", hint=hint)
    if shares[wanted] != 100:
        hint = f"roll back to it: evoke rollback {name} {wanted}"
        raise NotYet(f"a request to revision {wanted}, which does not get all traffic,", hint=hint)


def read_headers(given: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or any(c in text for c in "\r\n"):
            raise Usage(f"'{text}' is no header", hint="write it as 'name: value'")
        headers[name.strip().lower()] = value.strip()
    return headers


def finish(session: Session, name: str, reply: Reply, took: float, *, logs: bool, raw: bool) -> None:
    """Status and timing, then the call's logs; an answer of 4xx or 5xx is a failure."""
    call = call_of(reply)
    session.out.talk(
        f"{reply.status} {http.client.responses.get(reply.status, '')} in {took * 1000:.0f} ms {call}".rstrip()
    )
    if logs and call:
        for entry in session.client.logs(name, call=call):
            session.out.talk(line(entry, session.out))
    if reply.status >= 400 and not raw:
        if reply.status == 404:
            found = session.client.function(name)  # raises NotFound with the nearest name
            if any(one.get("reason") == "NotExposed" for one in found.get("conditions") or ()):
                hint = "give it `http: {}` in serving.triggers; apps call it by its app id without"
                raise Failed(f"function/{name} has no HTTP trigger", hint=hint)
        raise Failed(f"function/{name} answered {reply.status}", hint=f"see `evoke logs {name}`")
