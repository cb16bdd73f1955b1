"""MQTT topics: which filter matches which, and under which topic a subject of the bus is published; pure."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[%+#\x00-\x1f\x7f-\x9f]|^\$")
_SHARED = re.compile(r"\$share/[^/+#]+/")


def topic_of(subject: str) -> str:
    """The topic of a bus's subject: itself, but for what no topic may hold, which is percent-encoded."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", subject)


def filter_of(topic: str) -> str:
    """The filter of a Dapr topic: ``$share/<group>/<filter>`` means the filter, as nobody here shares a session."""
    return _SHARED.sub("", topic, count=1) if topic.startswith("$share/") else topic


def matches(filter_: str, topic: str) -> bool:
    """Whether a topic filter matches a topic (MQTT 5, 4.7); wildcards first in the filter match no ``$`` topic."""
    if topic.startswith("$") and filter_[:1] in {"+", "#"}:
        return False
    wanted, levels = filter_.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in {"+", level} for want, level in zip(wanted, levels, strict=True))


def to_nats(topic: str) -> str:
    """The subject under which nats-server keeps a topic: a dot between levels, ``/`` for an empty one, ``//`` for a dot
    (https://docs.nats.io/running-a-nats-service/configuration/mqtt#mqtt-topics-and-nats-subjects)."""
    return ".".join(level.replace(".", "//") or "/" for level in topic.split("/"))


def from_nats(subject: str) -> str:
    return "/".join("" if level == "/" else level.replace("//", ".") for level in subject.split("."))


def nats_filters(filter_: str) -> tuple[str, ...]:
    """Subjects that hold all topics of a filter: ``a/#`` is ``a`` too."""
    levels = filter_.split("/")
    rest = levels.pop() if levels[-1] == "#" else ""
    subject = ".".join("*" if level == "+" else to_nats(level) for level in levels)
    if not rest:
        return (subject,)
    return (subject, f"{subject}.>") if levels else (">",)
