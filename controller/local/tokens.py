"""What apps expect of their callers (APP_API_TOKEN): the proxies read it at every call, a replica once at its start."""

from __future__ import annotations

from api.meta import Key, SecretKeyRef
from api.model import Option, Workload
from controller.local.fleet import Fleet
from controller.local.revisions import Revisions

VARIABLE = "APP_API_TOKEN"


def of(workload: Workload) -> Option:
    """The token, or where it stands; empty: the app expects none."""
    return next((env.value for env in workload.env if env.name == VARIABLE), "")


def renew(secret: Key, revisions: Revisions, fleet: Fleet) -> None:
    """*secret* has changed: replicas whose callers have another token now make room for ones that know it."""
    for record in revisions.all():
        token = of(record.workload)
        if isinstance(token, SecretKeyRef) and Key(record.key.namespace, token.name) == secret:
            for replica in fleet.replicas.of(record.key, "ready"):
                fleet.leave(replica)
            fleet.converge(record.key)
