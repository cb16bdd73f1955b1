"""Placeholders in the metadata of a component: ``{appID}``, ``{namespace}``, ``{podName}``, ``{uuid}``; pure.

In a sidecar they differ from app to app, and the last two from start to start. Here one proxy connects for all apps,
and progress outlives every replica: what varies is the app, and the last two are as stable as its name.
"""

from __future__ import annotations

import uuid

from api.meta import Key
from api.model import Option

NAMESPACE = "{namespace}"


def resolve(text: str, *, component: Key, app_id: str) -> str:
    """*text* for one app; an empty *app_id*: for all who share the component."""
    namespace = f"{component.namespace}.{app_id}" if app_id else component.namespace
    name = app_id or component.name
    known = {
        NAMESPACE: namespace,
        "{appID}": name,
        "{podName}": name,
        "{uuid}": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{component}/{app_id}")),
    }
    for placeholder, value in known.items():
        text = text.replace(placeholder, value)
    return text


def prefix(options: dict[str, Option], namespace: str) -> str:
    """What stands before every topic of a component with *options*: the namespace, where any of them names it."""
    named = any(isinstance(option, str) and NAMESPACE in option for option in options.values())
    return namespace if named else ""
