"""Rules of single values, by the name that a field type has in ``extra={"rule": name}``.

A rule takes the value and answers (code, what is wrong) or None.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from api import durations, quantities, schedules, topics

Verdict: TypeAlias = tuple[str, str] | None

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_HANDLER = re.compile(r"[A-Za-z_][\w.\-/]*(:[A-Za-z_][\w.]*)?|[A-Za-z_][\w.\-]*", re.ASCII)
_ENV = re.compile(r"[A-Za-z_.\-][A-Za-z0-9_.\-]*", re.ASCII)


def name(value: str) -> Verdict:
    """A DNS-1123 label."""
    if len(value) > 63:
        return "E112", f"a name has at most 63 characters, this one has {len(value)}"
    if not _LABEL.fullmatch(value):
        return "E112", f"`{value}` is no name: lower-case letters, digits and dashes, a letter or digit at both ends"
    return None


def host(value: str) -> Verdict:
    """A DNS name; a first label ``*`` stands for any."""
    labels = value.removeprefix("*.").split(".")
    if len(value) > 253 or any(len(label) > 63 or not _LABEL.fullmatch(label) for label in labels):
        return "E112", f"`{value[:80]}` is no host name"
    return None


def env(value: str) -> Verdict:
    if len(value) > 256 or not _ENV.fullmatch(value):
        return "E112", f"`{value[:80]}` is no name of an environment variable"
    return None


def handler(value: str) -> Verdict:
    if len(value) > 256:
        return "E126", f"a handler has at most 256 characters, this one has {len(value)}"
    if not _HANDLER.fullmatch(value):
        return "E112", f"`{value[:80]}` is no handler: write it as `main:on_reading` or `on_reading`"
    return None


def duration(value: str) -> Verdict:
    return _tried("E114", durations.parse, value)


def wait(value: str | int) -> Verdict:
    return _tried("E114", durations.wait, value)


def quantity(value: str | int) -> Verdict:
    return _tried("E113", quantities.parse, value)


def condition(value: str) -> Verdict:
    """Length only; what it says is checked where it is compiled (triggers.expressions)."""
    return (
        ("E126", f"a condition has at most 1024 characters, this one has {len(value)}") if len(value) > 1024 else None
    )


def base_64(value: str) -> Verdict:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "E111", "expected base64; values as they are belong in stringData"
    return None


def percent(value: str) -> Verdict:
    if not re.fullmatch(r"\d{1,3}%", value, re.ASCII) or int(value[:-1]) > 100:
        return "E113", f"`{value[:40]}` is no percentage: write it as `50%`, 0% to 100%"
    return None


def _told(code: str, rule: Callable[[str], str]) -> Callable[[Any], Verdict]:
    def check(value: str) -> Verdict:
        defect = rule(value)
        return (code, defect) if defect else None

    return check


def _tried(code: str, parse: Callable[[Any], object], value: Any) -> Verdict:
    try:
        parse(value)
    except ValueError as error:
        return code, str(error)
    return None


RULES: Mapping[str, Callable[[Any], Verdict]] = {
    "name": name,
    "host": host,
    "env": env,
    "handler": handler,
    "duration": duration,
    "wait": wait,
    "quantity": quantity,
    "condition": condition,
    "base64": base_64,
    "percent": percent,
    "subject": _told("E122", topics.subject),
    "topic": _told("E122", topics.component),
    "nats": _told("E122", topics.nats),
    "mqtt": _told("E122", topics.mqtt),
    "kafka": _told("E122", topics.kafka),
    "schedule": _told("E123", schedules.defect),
}

OWN_TYPE_CODE = {"duration": "E114", "wait": "E114"}
"""Rules whose code also stands for a value of the wrong type."""
