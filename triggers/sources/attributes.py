"""Extension attributes from what a message says of itself: MQTT user properties, NATS headers; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from functions_framework.attributes import problem

MOST = 64
"""Properties that become attributes; the rest is counted."""
CORE = frozenset({"id", "source", "type", "specversion", "time", "datacontenttype", "dataschema", "subject", "data"})
OURS = ("evoke", "mqtt", "nats", "knative")
"""Beginnings of attributes that only the platform sets."""

_OUTSIDE = re.compile(r"[^a-z0-9]+")
_ANY = {"id": "-", "source": "-", "type": "-", "specversion": "1.0"}


def extensions(properties: Iterable[tuple[str, str]], *, omitted: str) -> Mapping[str, str | int]:
    """Attributes of named values: lower case, letters and digits of the name; the first of a name counts.

    Left out, and counted in the attribute *omitted*, are names that CloudEvents or the platform use, values that no
    attribute may have, and what is too many.
    """
    found: dict[str, str | int] = {}
    left = 0
    for given, value in properties:
        name = _OUTSIDE.sub("", given.lower())
        fits = name and name not in CORE and name not in found and not name.startswith(OURS)
        if not fits or len(found) >= MOST or wrong(name, value):
            left += 1
        else:
            found[name] = value
    if left:
        found[omitted] = left
    return found


def wrong(name: str, value: str) -> str:
    """Why *value* cannot be the attribute *name*; empty: it can."""
    return problem({**_ANY, name: value}) or ""


def media(content_type: str) -> str | None:
    """The content type where it is one: anything may stand there."""
    return None if not content_type or wrong("datacontenttype", content_type) else content_type
