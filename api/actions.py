"""What a planner may see and what it may answer.

``plan(world: World) -> Plan`` is pure. Actions are executed differently on each substrate; the Snapshot never differs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from api.conditions import Condition
from api.errors import Problem
from api.meta import Key, RevisionKey
from api.model import AppDeclaration, AppSubscription, Build, Replica, Snapshot, Workload
from api.scaling import Authority, ScalePolicy


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One stored resource: identity, generation and its decoded spec (a type of api.kinds)."""

    api_version: str
    kind: str
    key: Key
    uid: str
    generation: int
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deleting: bool = False
    spec: Any = None
    """Struct of api.kinds for this kind."""
    problems: tuple[Problem, ...] = ()
    """Why *spec* cannot be read by this release; empty: it can."""
    status: dict[str, Any] = {}


class BuildState(msgspec.Struct, frozen=True, kw_only=True):
    """Observed build of one function."""

    digest: str
    """StartBuild.digest of the build it ran."""
    phase: str
    """``running``, ``succeeded``, or a False reason of condition Built."""
    message: str = ""
    artifact: Any = None
    """Bundle or Image once succeeded."""
    duration: timedelta | None = None


class RevisionState(msgspec.Struct, frozen=True, kw_only=True):
    """Observed facts about one revision, kept by the substrate."""

    key: RevisionKey
    digest: str
    """Workload.revision_digest()."""
    checked: bool = False
    """It answered ready at least once (or its check run did)."""
    problem: str = ""
    """An Available reason while it cannot start."""
    message: str = ""
    wanted: int = 0
    credit: int = 0
    """Events or requests in flight that one replica takes, as its check told; 0: not known."""
    declared: AppDeclaration | None = None
    """What its app said when it was started for its check; None: it is no Dapr app, or was not checked."""
    created: datetime
    workload: Workload | None = None
    """What the last Ensure said; a rollback makes a new revision of it."""
    scale: ScalePolicy | None = None
    """The policy of the last Ensure; the planner says Ensure again when it differs."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What the substrate reports; nothing here was decided by us in this pass."""

    revisions: tuple[RevisionState, ...] = ()
    builds: dict[str, BuildState] = {}
    """Function ``namespace/name`` -> its latest build."""
    trees: dict[str, str] = {}
    """Source folder -> digest of its content now; a folder that is not there is absent."""
    replicas: tuple[Replica, ...] = ()
    capabilities: frozenset[str] = frozenset()
    """What this substrate can honour: ``processes``, ``images``, ``volumes``..."""
    agents: dict[str, str] = {}
    """Connected proxies and gateways: name -> role."""
    buses: dict[str, str] = {}
    """Bus ``namespace/name`` -> "" when connected, else ``Reason: message``."""
    sources: dict[str, str] = {}
    components: dict[str, str] = {}
    """Component ``namespace/name`` -> "" when it works, else ``Reason: message``."""
    streams: dict[str, tuple[AppSubscription, ...]] = {}
    """Function ``namespace/name`` -> what it has ever subscribed to by a stream."""
    subscriptions: dict[str, str] = {}
    """Subscription key -> "" when owned, else ``Reason: message``."""
    snapshots: dict[str, str] = {}
    """Namespace -> digest of the snapshot published last."""
    scaling: dict[str, str] = {}
    """Function ``namespace/name`` -> "" while every reading is fresh, else ``Reason: message``."""
    secrets: dict[str, frozenset[str]] | None = None
    """Secret ``namespace/name`` -> its keys; None: not known here."""
    url: str = ""
    """Where the gateway listens, ``http://127.0.0.1:8080``; empty: no gateway."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """All that plan() may see."""

    resources: tuple[Resource, ...]
    observed: Observed
    now: datetime


class StartBuild(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    build: Build
    digest: str
    """Digest of the build and of its source's content: what BuildState.digest will say."""


class CancelBuild(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    key: Key
    reason: str


class Ensure(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The revision shall exist with this scale policy; a new one is checked once before it gets traffic."""

    workload: Workload
    scale: ScalePolicy


class SetReplicas(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    revision: RevisionKey
    replicas: int
    drain: tuple[str, ...] = ()
    because: str = ""


class Kill(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End these replicas at once and let others take their place: no grace, and no crash to back off from."""

    replicas: tuple[str, ...]
    reason: str


class Remove(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    revision: RevisionKey


class Publish(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    snapshot: Snapshot


class HandOver(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    revision: RevisionKey
    to: Authority
    policy: ScalePolicy


Action: TypeAlias = StartBuild | CancelBuild | Ensure | SetReplicas | Kill | Remove | Publish | HandOver


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Status of one resource: conditions, and the kind's own fields."""

    kind: str
    key: Key
    conditions: tuple[Condition, ...]
    fields: dict[str, Any] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    actions: tuple[Action, ...] = ()
    statuses: tuple[Status, ...] = ()
    requeue: timedelta | None = None
    """When to plan again although nothing changed."""
