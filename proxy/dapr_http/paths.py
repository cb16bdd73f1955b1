"""From a request's path to the part of the API that it means; pure.

One path is decided on and used: whatever two readers could understand differently is refused before anything looks at
it (CVE-2023-37918 was a token check and a dispatcher that read one path in two ways).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from proxy.dapr.errors import DaprError

VERSIONS = frozenset({"v1.0", "v1.0-alpha1", "v1.0-alpha2", "v1.0-beta1"})
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})|%00|[\\\x00-\x20\x7f]|%(0[0-9a-fA-F]|1[0-9a-fA-F]|7[fF])")
Shape: TypeAlias = tuple[str, ...]
"""Segments after the block: ``=literal``, a name for one segment, or ``*name`` for all that is left."""


class Parsed(msgspec.Struct, frozen=True):
    """*version* is empty for a path that is none of the API's."""

    version: str
    block: str
    rest: tuple[str, ...]
    """Segments after it, percent-encoded."""


def parse(path: str) -> Parsed:
    """Split *path*, percent-encoded as it came; raises DaprError where it can be read in more than one way."""
    if _BROKEN.search(path):
        raise _ambiguous()
    segments = path.split("/")
    if "." in path or "%" in path:
        for segment in segments:
            if unquote(segment).partition(";")[0] in {".", ".."}:
                raise _ambiguous()
    if len(segments) < 3 or segments[0] or segments[1] not in VERSIONS:
        return Parsed("", "", tuple(segments[1:]))
    return Parsed(segments[1], segments[2], tuple(segments[3:]))


def match(shape: Shape, segments: Sequence[str]) -> dict[str, str] | None:
    """The named parts of *segments*, decoded; None: they have another shape."""
    wild = bool(shape) and shape[-1].startswith("*")
    if len(segments) != len(shape) and not (wild and len(segments) >= len(shape)):
        return None
    found: dict[str, str] = {}
    for index, name in enumerate(shape):
        if name[0] == "=":
            if segments[index] != name[1:]:
                return None
        elif name[0] == "*":
            found[name[1:]] = _decoded("/".join(segments[index:]))
        else:
            found[name] = _decoded(segments[index])
    return found


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _ambiguous() from None


def _ambiguous() -> DaprError:
    message = "the path can be read in more than one way, or has characters that no name has"
    return DaprError(400, "INVALID_ARGUMENT", "ERR_MALFORMED_REQUEST", message)
