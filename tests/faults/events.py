"""Events and dead letters of a platform, over the proxy's own socket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.platform import Platform, UnixConnection


def publish(platform: Platform, subject: str, numbers: Iterable[int], *, keys: int = 5) -> None:
    """One event for each number, which is its id and its data; returns when the bus has stored them all."""
    events = [
        {
            "specversion": "1.0",
            "id": str(n),
            "source": "/test",
            "type": "t",
            "partitionkey": f"k{n % keys}",
            "data": n,
        }
        for n in numbers
    ]
    path = f"/v1/namespaces/default/buses/default/publish?subject={subject}"
    platform.request("POST", path, {"events": events}, socket_name="plane-0.sock")


def letters(platform: Platform, trigger: str) -> list[dict[str, Any]]:
    connection = UnixConnection(platform.run / "plane-0.sock")
    try:
        connection.request("GET", f"/v1/namespaces/default/dead-letters/{trigger}")
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == 200, text
        return [json.loads(line) for line in text.splitlines()]
    finally:
        connection.close()
