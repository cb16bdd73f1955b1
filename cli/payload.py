"""Data given on the command line: ``DATA``, ``@FILE`` or ``-`` for stdin, byte for byte."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import IO, Any

from cli.errors import MissingFile, Usage
from functions_framework import strict_json


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
    """The JSON value in *body*; None when it holds none, or something that only some readers take for JSON."""
    try:
        return strict_json.decode(body)
    except strict_json.BadJson:
        return None


def event(body: bytes) -> dict[str, Any] | None:
    """The members of the CloudEvent that *body* is; None when it is none.

    Raises Usage (E141) for one that is no strict JSON: as data of another event it would not be what was meant.
    """
    if b'"specversion"' not in body:
        return None
    try:
        value = strict_json.decode(body)
    except strict_json.BadJson as error:
        raise Usage(
            str(error), code="E141", hint="the data names a specversion, so it is read as a CloudEvent"
        ) from error
    return value if isinstance(value, dict) and {"specversion", "type", "source"} <= value.keys() else None


def media_type(body: bytes) -> str:
    """JSON where it is JSON, text where it is UTF-8, else bytes."""
    try:
        strict_json.decode(body)
    except strict_json.BadJson:
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
        return {"datacontenttype": kind, "data": strict_json.decode(body)}
    if kind == "application/octet-stream":
        return {"datacontenttype": kind, "data_base64": base64.b64encode(body).decode()}
    return {"datacontenttype": "text/plain", "data": body.decode()}
