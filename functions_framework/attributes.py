"""Which values CloudEvents 1.0 allows for each attribute; pure. The SDK lets most of these through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

MAX_ATTRIBUTES = 100
MAX_VALUE = 4096
"""Characters of one attribute: every hop has to carry them as a header."""

RESERVED = "io.evoke."
"""Types and sources below it say that the platform made the event."""
OPEN = frozenset({"io.evoke.published"})
"""The type that ``evoke publish`` gives to what a person publishes."""

_NAME = re.compile(r"[a-z0-9]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_URI = re.compile(r"(?:[\u00a1-\U0010ffffA-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_MEDIA = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+*-]+\s*(;.*)?")


def problem(attributes: Mapping[str, Any]) -> str | None:
    """Say in one line what is wrong with an event's attributes (data left out), or None."""
    for name in ("id", "source", "type", "specversion"):
        if name not in attributes or attributes[name] is None:
            return f"CloudEvent lacks the attribute {name}"
    if len(attributes) > MAX_ATTRIBUTES:
        return f"CloudEvent has {len(attributes)} attributes; at most {MAX_ATTRIBUTES}"
    for name, value in attributes.items():
        wrong = _wrong(name, value)
        if wrong:
            return wrong
    return None


def spoofed(attributes: Mapping[str, Any]) -> str | None:
    """Say which attribute claims to come from the platform, or None; asked wherever outsiders publish."""
    for name in ("type", "source"):
        value = str(attributes.get(name, ""))
        if value.lower().startswith(RESERVED) and value not in OPEN:
            return f"attribute {name} is {value[:60]!r}: only the platform sets names that begin with {RESERVED}"
    own = next((name for name in attributes if name.startswith("evoke")), None)
    return f"attribute {own[:40]} is set by the platform only" if own else None


def is_media_type(value: str) -> bool:
    """Whether *value* may stand in ``datacontenttype``."""
    return len(value) <= MAX_VALUE and _MEDIA.fullmatch(value) is not None and not _CONTROL.search(value)


def _wrong(name: str, value: Any) -> str | None:
    if not _NAME.fullmatch(name) or name == "data":
        return f"attribute name {name[:40]!r} is not allowed; lower-case letters and digits only"
    rule = _RULES.get(name)
    if rule is None:
        return _extension(name, value)
    if not isinstance(value, str):
        return f"attribute {name} must be a string, got {type(value).__name__}"
    if not value:
        return f"attribute {name} is empty"
    return _text(name, value) or rule(value)


def _text(name: str, value: str) -> str | None:
    if len(value) > MAX_VALUE:
        return f"attribute {name} has {len(value)} characters; at most {MAX_VALUE}"
    if _CONTROL.search(value):
        return f"attribute {name} holds a control character"
    return None


def _extension(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, bool | int):
        return None
    if not isinstance(value, str):
        return f"attribute {name} must be a string, an integer or a boolean, got {type(value).__name__}"
    return _text(name, value)


def _version(value: str) -> str | None:
    return None if value == "1.0" else f"specversion {value!r} is not supported; supported: 1.0"


def _uri(value: str) -> str | None:
    return None if _URI.fullmatch(value) else "attribute source must be a URI reference"


def _schema(value: str) -> str | None:
    return None if _URI.fullmatch(value) and ":" in value else "attribute dataschema must be an absolute URI"


def _time(value: str) -> str | None:
    try:
        if _TIME.fullmatch(value):
            datetime.fromisoformat(value.upper())
            return None
    except ValueError:
        pass
    return "attribute time must be an RFC 3339 timestamp, as 2026-01-31T12:00:00Z"


def _media(value: str) -> str | None:
    return None if is_media_type(value) else "attribute datacontenttype must be a media type"


def _any(_value: str) -> str | None:
    return None


_RULES: dict[str, Callable[[str], str | None]] = {
    "id": _any,
    "type": _any,
    "source": _uri,
    "specversion": _version,
    "subject": _any,
    "time": _time,
    "datacontenttype": _media,
    "dataschema": _schema,
}
