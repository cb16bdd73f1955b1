"""Names of buckets and keys on JetStream; pure. No two components share a bucket by accident, no two keys a subject."""

from __future__ import annotations

import re

from api.model import Component

_KEY = re.compile(r"[^A-Za-z0-9_/-]")
_NAME = re.compile(r"[^A-Za-z0-9-]")


def token(key: str) -> str:
    """*key* as the rest of a subject: ``app||key`` is ``app.key`` as in daprd; what a subject may not hold, and the
    dot, is ``=`` and the hex of its bytes, so that no two keys meet."""
    return ".".join(
        _KEY.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), part) for part in key.split("||")
    )


def own_bucket(component: Component, name: str = "") -> str:
    """A bucket on the platform's own server; under a name that nothing of the platform and no other namespace has."""
    parts = (component.key.namespace, name or component.key.name)
    return "dapr_" + "__".join(_NAME.sub(lambda found: f"_{ord(found[0]):x}-", part) for part in parts)
