"""Worlds for tables of planner tests, and what executing an action does to one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import yaml

from api import documents
from api.actions import (
    Action,
    BuildState,
    CancelBuild,
    Ensure,
    Observed,
    Publish,
    Remove,
    Resource,
    RevisionState,
    SetReplicas,
    StartBuild,
    World,
)
from api.kinds import KINDS
from api.meta import Key, RevisionKey
from api.model import Bundle, Replica

NOW = datetime(2026, 1, 1, tzinfo=UTC)

FUNCTION = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: f}
spec:
  build: {srcRepo: {url: /src/f}}
  serving: {triggers: {http: {}}}
"""
LISTENER = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: listener}
spec:
  build: {srcRepo: {url: /src/listener}}
  serving: {triggers: {dapr: [{name: default, type: pubsub, topic: alerts}]}}
"""
SOURCE = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: readings}
spec:
  mqtt: {all: {topic: sensors/#}}
  sink: {ref: {kind: Function, name: listener}}
"""
TRIGGER = """
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: hot}
spec:
  inputs: {in: {eventSource: readings, event: all}}
  subscribers: [{condition: event.data.celsius > 30, sink: {ref: {kind: Function, name: listener}}}]
"""
BUS = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {name: other}
spec: {nats: {url: "nats://bus.example:4222"}}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: x}
"""
DOMAIN = """
apiVersion: networking.openfunction.io/v1alpha1
kind: Gateway
metadata: {name: openfunction}
spec: {domain: ofn.io, gatewayRef: {name: g, namespace: default}, gatewaySpec: {listeners: []}}
"""


def resource(text: str, *, annotations: dict[str, str] | None = None, generation: int = 1, **changes: Any) -> Resource:
    """One resource of YAML; *changes* replace members of its ``spec`` by dotted path with ``__``."""
    raw = yaml.safe_load(text)
    for path, value in changes.items():
        place = raw if path.startswith("metadata") else raw["spec"]
        *parents, last = path.split("__")
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    body = documents.body(raw, KINDS[raw["apiVersion"], raw["kind"]])
    return Resource(
        api_version=raw["apiVersion"],
        kind=raw["kind"],
        key=Key(raw["metadata"].get("namespace", "default"), raw["metadata"]["name"]),
        uid="u",
        generation=generation,
        annotations=annotations or {},
        spec=documents.decode_spec(raw["apiVersion"], raw["kind"], body),
    )


def observed(**fields: Any) -> Observed:
    """A local substrate with both agents, and folders for the two functions."""
    usual = {
        "trees": {"/src/f": "sha256:1", "/src/listener": "sha256:1"},
        "capabilities": frozenset({"processes"}),
        "agents": {"proxy-0": "proxy", "gateway-0": "gateway"},
        "url": "http://127.0.0.1:8080",
    }
    return Observed(**{**usual, **fields})


def world(resources: Iterable[Resource], seen: Observed | None = None) -> World:
    return World(resources=tuple(resources), observed=seen or observed(), now=NOW)


def apply(actions: Iterable[Action], seen: Observed) -> Observed:
    """What a perfect substrate shows after executing *actions*; builds and checks stay under way."""
    for action in actions:
        seen = _apply(action, seen)
    return seen


def _apply(action: Action, seen: Observed) -> Observed:
    replace = msgspec.structs.replace
    match action:
        case StartBuild(build=build, digest=digest):
            return replace(seen, builds={**seen.builds, str(build.key): BuildState(digest=digest, phase="running")})
        case CancelBuild(key=key):
            state = replace(seen.builds[str(key)], phase="Canceled")
            return replace(seen, builds={**seen.builds, str(key): state})
        case Ensure(workload=workload, scale=scale):
            before = [one for one in seen.revisions if one.key == workload.key]
            others = [one for one in seen.revisions if one.key != workload.key]
            fresh = RevisionState(key=workload.key, digest=workload.revision_digest(), created=NOW)
            return replace(
                seen,
                revisions=(*others, replace(before[0] if before else fresh, workload=workload, scale=scale)),
            )
        case Remove(revision=revision):
            return replace(
                seen,
                revisions=tuple(one for one in seen.revisions if one.key != revision),
                replicas=tuple(one for one in seen.replicas if one.revision != revision),
            )
        case Publish(snapshot=snapshot):
            return replace(seen, snapshots={**seen.snapshots, snapshot.namespace: snapshot.digest})
        case SetReplicas():
            raise AssertionError("plan() sets no replicas")
    raise AssertionError(action)


def finish_builds(seen: Observed, phase: str = "succeeded") -> Observed:
    """Every build under way ends; the artifact follows from what was built."""
    ended = {
        name: msgspec.structs.replace(
            state,
            phase=phase,
            message="" if phase == "succeeded" else "boom",
            artifact=Bundle(code=state.digest, runtime="sha256:r") if phase == "succeeded" else None,
            duration=timedelta(seconds=1),
        )
        if state.phase == "running"
        else state
        for name, state in seen.builds.items()
    }
    return msgspec.structs.replace(seen, builds=ended)


def check(seen: Observed, problem: str = "", only: str = "") -> Observed:
    """Every revision that was not checked is: ready, or with *problem*."""
    checked = tuple(
        msgspec.structs.replace(one, checked=not problem, problem=problem, message=problem and "main.py:3: boom")
        if not one.checked and only in one.key.revision
        else one
        for one in seen.revisions
    )
    return msgspec.structs.replace(seen, revisions=checked)


def running(seen: Observed, *keys: RevisionKey) -> Observed:
    replicas = tuple(Replica(id=f"{key}-{n}", revision=key, phase="ready", since=NOW) for n, key in enumerate(keys))
    return msgspec.structs.replace(seen, replicas=replicas)


def tree(seen: Observed, folder: str, digest: str) -> Observed:
    return msgspec.structs.replace(seen, trees={**seen.trees, folder: digest})
