"""Which names each broker takes for a topic; every rule answers what is wrong, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

Defect: TypeAlias = tuple[Callable[[str], object], str]
"""Whether a topic has this defect, and what it is called."""

RESERVED = "evoke."
"""Topics of an EventBus that begin so are the platform's own: joins, dead letters on their way, calls that wait."""

_BLANK = re.compile(r"[\x00-\x20\x7f]")
_KAFKA = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)

_DOTS: Defect = (
    lambda topic: "" in topic.split("."),
    "it neither begins nor ends with a dot and has none twice in a row",
)
_SUBJECT: Sequence[Defect] = (
    (lambda topic: not 1 <= len(topic) <= 249, "it has 1 to 249 characters"),
    (_BLANK.search, "it has no spaces and no control characters"),
    (lambda topic: set(topic) & set("*>#+"), "`*`, `>`, `#` and `+` are wildcards; name one topic"),
    (lambda topic: topic.startswith("$"), "those that begin with `$` belong to the broker"),
    (lambda topic: topic.startswith(RESERVED), f"those that begin with `{RESERVED}` belong to the platform"),
    _DOTS,
)
_NATS: Sequence[Defect] = (
    (lambda topic: not 1 <= len(topic) <= 249, "it has 1 to 249 characters"),
    (_BLANK.search, "it has no spaces and no control characters"),
    (lambda topic: topic.startswith(("$", "_INBOX")), "those that begin with `$` or `_INBOX` belong to the server"),
    _DOTS,
    (lambda topic: topic == ">", "`>` alone is every subject of the server, its own ones too; name a first token"),
    (lambda topic: ">" in topic.removesuffix(".>"), "`>` stands alone and last"),
    (lambda topic: any("*" in word and word != "*" for word in topic.split(".")), "`*` stands for a whole token"),
)
_MQTT: Sequence[Defect] = (
    (lambda topic: not 1 <= len(topic.encode(errors="replace")) <= 65535, "it has 1 to 65535 bytes"),
    (_BLANK.search, "it has no spaces and no control characters"),
    (lambda topic: topic.startswith("$"), "those that begin with `$` belong to the broker"),
    (lambda topic: topic != "#" and "#" in topic.removesuffix("/#"), "`#` stands alone and last"),
    (lambda topic: any("+" in level and level != "+" for level in topic.split("/")), "`+` stands for a whole level"),
)
_COMPONENT: Sequence[Defect] = (
    (lambda topic: not 1 <= len(topic.encode(errors="replace")) <= 65535, "it has 1 to 65535 bytes"),
    (re.compile(r"[\x00-\x1f\x7f]").search, "it has no control characters"),
)
_KAFKA_RULES: Sequence[Defect] = (
    (lambda topic: not _KAFKA.fullmatch(topic), "it has 1 to 249 letters, digits, dots, dashes and underscores"),
    (lambda topic: topic in {".", ".."}, "`.` and `..` are no names"),
)


def subject(topic: str) -> str:
    """A topic of an EventBus, whatever broker is behind it."""
    return _first("a topic", topic, _SUBJECT)


def component(topic: str) -> str:
    """A topic of a pub/sub component whose broker is not known."""
    return _first("a topic", topic, _COMPONENT)


def nats(topic: str) -> str:
    """A NATS subject to subscribe to."""
    return _first("a subject", topic, _NATS)


def mqtt(topic: str) -> str:
    """An MQTT topic filter to subscribe to."""
    return _first("a topic filter", topic, _MQTT)


def kafka(topic: str) -> str:
    """A Kafka topic."""
    return _first("a Kafka topic", topic, _KAFKA_RULES)


def _first(what: str, topic: str, defects: Sequence[Defect]) -> str:
    message = next((message for holds, message in defects if holds(topic)), "")
    return f"`{topic[:40]}` is not {what}: {message}" if message else ""
