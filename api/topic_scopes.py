"""Which topics of a pub/sub component an app may publish to and subscribe to.

Metadata of the component with Dapr's meaning: ``allowedTopics`` are all that exist for anybody, ``protectedTopics`` are
for those apps only that a scope names, ``publishingScopes`` and ``subscriptionScopes`` (``app1=a,b;app2=``) bind the
apps that they name: an empty list leaves them nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

Direction = Literal["publishing", "subscription"]

_ALLOWED = "allowedtopics"
_PROTECTED = "protectedtopics"
_SCOPES = {"publishing": "publishingscopes", "subscription": "subscriptionscopes"}
SETTINGS = frozenset({_ALLOWED, _PROTECTED, *_SCOPES.values()})
"""Names, in lower case, that every pub/sub component takes."""

_VERBS = {"publishing": "publish to", "subscription": "subscribe to"}


def denied(metadata: Mapping[str, object], topic: str, app: Collection[str], direction: Direction) -> str:
    """Why the app called any of *app* may not use *topic*; empty: it may.

    *metadata* is that of the component, its names in any case; what is no text (a secret) is no scope.
    """
    settings = {name.lower(): text for name, text in metadata.items() if isinstance(text, str)}
    allowed = _listed(settings.get(_ALLOWED, ""))
    if allowed and topic not in allowed:
        return f"topic {topic} is not among the allowedTopics of the component"
    scopes = list(_scopes(settings.get(_SCOPES[direction], "")))
    granted = [topics for name, topics in scopes if name in app]
    if any(topic in topics for topics in granted):
        return ""
    if granted:
        return f"the component's {direction}Scopes do not let the app {_VERBS[direction]} topic {topic}"
    if topic in _listed(settings.get(_PROTECTED, "")):
        return f"topic {topic} is protected, and the component's {direction}Scopes do not name the app"
    return ""


def _scopes(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    for one in text.split(";"):
        name, given, topics = one.partition("=")
        if given:
            yield name.strip(), _listed(topics)


def _listed(text: str) -> frozenset[str]:
    return frozenset(name for part in text.split(",") if (name := part.strip()))
