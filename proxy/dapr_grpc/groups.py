"""Which API each method is part of, by the names that a Configuration's allow lists use; pure.

Source: dapr/pkg/api/grpc/endpoints.go. The version is in the method's name: ``TryLockAlpha1`` is of v1alpha1.
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"(?P<bare>\w+?)(?P<stage>Alpha|Beta)(?P<number>\d)$")
_FIRST = (
    ("SubscribeTopicEvents", "subscribe"),
    ("SubscribeActorEvents", "actors"),
    ("PublishEvent", "publish"),
    ("BulkPublishEvent", "publish"),
    ("InvokeService", "invoke"),
    ("InvokeBinding", "bindings"),
    ("Shutdown", "shutdown"),
    ("TryLock", "lock"),
    ("Unlock", "unlock"),
    ("Subtle", "subtlecrypto"),
    ("Encrypt", "crypto"),
    ("Decrypt", "crypto"),
    ("Converse", "conversation"),
)
_WITHIN = (
    ("Actor", "actors"),
    ("State", "state"),
    ("Secret", "secrets"),
    ("Configuration", "configuration"),
    ("Metadata", "metadata"),
    ("Workflow", "workflows"),
    ("Job", "jobs"),
)


def group_of(method: str) -> tuple[str, str]:
    """Name and version of the API that *method* is part of: ``("state", "v1")``."""
    found = _VERSION.fullmatch(method)
    bare = found["bare"] if found else method
    version = f"v1{found['stage'].lower()}{found['number']}" if found else "v1"
    for start, name in _FIRST:
        if bare.startswith(start):
            return name, version
    return next((name for part, name in _WITHIN if part in bare), bare.lower()), version
