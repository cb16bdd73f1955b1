"""Asynchronous invocations: an HTTP request as a CloudEvent; the gateway makes it, the function unpacks it.

Type ``io.evoke.invocation``; the body is the data; extensions ``httpmethod``, ``httppath`` (with the query) and
``httpheaders`` (a JSON array of [name, value]) hold the rest.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import unquote

from functions_framework.codec import BadEvent
from functions_framework.event import CloudEvent
from functions_framework.message import Reply, Request
from functions_framework.replies import Fault, Outcome

TYPE = "io.evoke.invocation"
RETRIED = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses that may be different next time; any other answer, a refusal too, is the answer."""

PASSED_ON = (b"evoke-attempt", b"evoke-timeout")


def event_of(
    *,
    call: str,
    source: str,
    method: str,
    target: str,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
) -> CloudEvent:
    """Event that carries a request; *call* is its id, and the execution id of the run."""
    listed = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
    attributes = {
        "id": call,
        "source": source,
        "type": TYPE,
        "datacontenttype": "application/octet-stream",
        "httpmethod": method,
        "httppath": target,
        "httpheaders": json.dumps(listed, separators=(",", ":")),
    }
    return CloudEvent(attributes, body)


def request_of(event: CloudEvent, carrier: Request) -> Request:
    """Request that an event carries; attempt and timeout come from the *carrier*.

    Raises:
        BadEvent: it carries none.
    """
    if event["type"] != TYPE:
        raise BadEvent(f"type {event['type']} is no invocation")
    try:
        listed: Any = json.loads(event.get("httpheaders") or "[]")
        headers = [(str(name).lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in listed]
    except (ValueError, TypeError):
        raise BadEvent("httpheaders is not an array of [name, value]") from None
    headers += [(name, carrier.lookup[name]) for name in PASSED_ON if name in carrier.lookup]
    if all(name != b"function-execution-id" for name, _ in headers):
        headers.append((b"function-execution-id", str(event["id"]).encode("latin-1", "replace")))
    target = str(event.get("httppath") or "/")
    path, _, query = target.partition("?")
    data = event.data
    body = data if isinstance(data, bytes) else b"" if data is None else str(data).encode()
    method = str(event.get("httpmethod") or "POST").upper()
    return Request(method, unquote(path), headers, body, query=query.encode("latin-1"), raw_path=path.encode("latin-1"))


async def invocation_outcome(reply: Reply) -> Outcome:
    """Read the reply to its end, since the function runs until then, and judge it by its status."""
    if not isinstance(reply.body, bytes):
        stream: AsyncIterator[bytes] = reply.body
        async for _ in stream:
            pass
    if reply.status in RETRIED:
        return Outcome("RETRY", error=Fault("HTTPError", f"the function answered {reply.status}"))
    return Outcome()
