"""Names on a Kafka cluster: groups and the platform's own topics, from the neutral model; all pure.

A topic is the subject as written, so that anybody else's programs find it. What is ours beside it begins with
``evoke.``.
"""

from __future__ import annotations

import hashlib
import re

from api import topics
from api.meta import Key
from api.model import Subscription
from eventbus.errors import Refused

OWN = "evoke."
INSTANCE = "owner"
"""group.instance.id of every owner: whoever joins replaces the one before."""
REPLAYS = 1 << 20
"""Share of partition 0 of a subscription's replays; its own topic has the shares below."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def topic(subject: str) -> str:
    """The topic of a subject; raises Refused where Kafka could not have one of that name."""
    if wrong := topics.kafka(subject):
        raise Refused(wrong)
    return subject


def group(subscription: Subscription) -> str:
    """The consumer group of one subscription: a group on a topic. No topic holds a slash, so the parts stay apart."""
    return f"evoke.{subscription.key.namespace}.{subscription.group}/{subscription.subject}"


def replays(subscription: Key, group_: str, subject: str) -> str:
    """Where what is replayed to one subscription stands."""
    return _own("replay", subscription.namespace, group_, subject)


def letters(subscription: Key) -> str:
    """Where the dead letters of one subscription stand."""
    return _own("dlq", subscription.namespace, subscription.name)


def letter(id_: str, subject: str) -> bytes:
    """Record key of one letter: a subscription that moved to another subject must not overwrite older ones."""
    return f"{id_} {subject}".encode()


def foreign(topic_: str) -> bool:
    """Whether *topic_* may carry events: neither ours nor the broker's own."""
    return not topic_.startswith((OWN, "__"))


def _own(kind: str, *parts: str) -> str:
    """Readable, and never the same for different *parts*: dots may stand in them too."""
    mark = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{OWN}{kind}.{_UNSAFE.sub('_', '.'.join(parts))[:200]}.{mark}"
