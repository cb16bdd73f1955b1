"""Data given on the command line: ``DATA``, ``@FILE`` or ``-`` for stdin, byte for byte."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from cli.errors import MissingFile


def read(text: str) -> bytes:
    """The bytes that *text* stands for. Raises MissingFile (E160)."""
    source = open_file(text)
    if source is None:
        return os.fsencode(text)
    with source:
        return source.read()


def open_file(text: str) -> IO[bytes] | None:
    """The file or stdin behind ``@FILE`` or ``-``; None when *text* is the data itself."""
    if text == "-":
        return sys.stdin.buffer
    if not text.startswith("@"):
        return None
    try:
        return Path(text[1:]).open("rb")
    except OSError as error:
        raise MissingFile(text[1:], error) from error


def decode(body: bytes) -> Any:
    """The JSON value in *body*; None when it holds none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def media_type(body: bytes) -> str:
    """JSON where it is JSON, text where it is UTF-8, else bytes."""
    try:
        json.loads(body)
    except UnicodeDecodeError:
        return "application/octet-stream"
    except ValueError:
        try:
            body.decode()
        except UnicodeDecodeError:
            return "application/octet-stream"
        return "text/plain; charset=utf-8"
    return "application/json"


def members(body: bytes) -> dict[str, Any]:
    """``data`` or ``data_base64`` of a structured CloudEvent, with its content type."""
    kind = media_type(body)
    if kind == "application/json":
        return {"datacontenttype": kind, "data": json.loads(body)}
    if kind == "application/octet-stream":
        return {"datacontenttype": kind, "data_base64": base64.b64encode(body).decode()}
    return {"datacontenttype": "text/plain", "data": body.decode()}
