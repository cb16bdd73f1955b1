"""Calls of the API of an app that runs: what ``evoke dapr invoke`` and ``publish`` send."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import msgspec

from api.platform import LOOPBACK
from cli import payload
from cli.dapr.instances import Instance
from cli.errors import Failed, Usage


def body_of(data: str, file: Path | None) -> bytes:
    """What was given; raises Usage, MissingFile."""
    if data and file is not None:
        raise Usage("give the data either in the command or in a file")
    return payload.read(f"@{file}") if file is not None else data.encode()


def members(text: str, *, strict: bool = True) -> dict[str, Any]:
    """Members of a JSON object; unless *strict*, what is none has none. Raises Usage."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.DecodeError:
        if strict:
            raise Usage("--metadata is no JSON object") from None
        return {}


def call(one: Instance, verb: str, path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, one.http, timeout=60)
    try:
        connection.request(verb, path, body or None, {"content-type": kind} if body else {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    except OSError as error:
        raise Failed(f"app {one.id}: its API on port {one.http} does not answer: {error}") from None
    finally:
        connection.close()
