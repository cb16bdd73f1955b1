"""Resources and what the apps said of themselves -> the snapshot to act on, by the planner of the platform; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from api.actions import Ensure, Observed, Publish, Resource, RevisionState, World
from api.conditions import Condition
from api.meta import Key, RevisionKey
from api.model import AppDeclaration, AppSubscription, Snapshot
from cli.dapr.settings import NAMESPACE
from controller.plan import plan
from controller.streams import FIELD

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing here depends on the time."""
_TOLD = frozenset(
    {
        "Invalid",
        "NotYet",
        "ReferenceDenied",
        "Conflict",
        "TopicDenied",
        "ComponentNotFound",
        "BusNotFound",
        "AuthFailed",
    }
)
"""Reasons that a person has to mend; the others tell of what is not here: replicas, gateways."""
CAPABILITIES = frozenset({"processes", "images"})


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    snapshot: Snapshot
    revisions: dict[Key, RevisionKey]
    """Function -> the one that its program stands for."""
    problems: tuple[str, ...] = ()
    """One line for each thing that does not hold."""


def planned(
    resources: Sequence[Resource],
    declared: Mapping[Key, AppDeclaration],
    streams: Mapping[Key, tuple[AppSubscription, ...]],
    troubles: Mapping[Key, str],
) -> Planned:
    """*declared*: functions whose app was asked; *troubles*: component -> ``Reason: message``."""
    observed = Observed(
        capabilities=CAPABILITIES,
        components={str(key): found for key, found in troubles.items()},
    )
    known_streams = [_remembering(one, streams.get(one.key, ())) for one in resources]
    world = World(resources=tuple(known_streams), observed=observed, now=BEGINNING)
    ensured = [action for action in plan(world).actions if isinstance(action, Ensure)]
    known = tuple(_state(one, declared.get(one.workload.key.function_key)) for one in ensured)
    done = plan(msgspec.structs.replace(world, observed=msgspec.structs.replace(observed, revisions=known)))
    (snapshot,) = [
        action.snapshot
        for action in done.actions
        if isinstance(action, Publish) and action.snapshot.namespace == NAMESPACE
    ]
    return Planned(
        snapshot=snapshot,
        revisions={state.key.function_key: state.key for state in known},
        problems=tuple(
            f"{status.kind.lower()}/{status.key.name}: {reason}"
            for status in done.statuses
            for reason in _reasons(status.conditions)
        ),
    )


def _remembering(resource: Resource, streams: tuple[AppSubscription, ...]) -> Resource:
    """A Function whose status has what its app has subscribed to by streams: there the planner looks."""
    if resource.kind != "Function" or not streams:
        return resource
    told = [msgspec.structs.replace(one, stream=True) for one in streams]
    return msgspec.structs.replace(resource, status={FIELD: msgspec.to_builtins(told)})


def _state(ensured: Ensure, declared: AppDeclaration | None) -> RevisionState:
    workload = ensured.workload
    return RevisionState(
        key=workload.key,
        digest=workload.revision_digest(),
        checked=True,
        declared=declared or AppDeclaration(),
        created=BEGINNING,
        workload=workload,
        scale=ensured.scale,
    )


def _reasons(conditions: Sequence[Condition]) -> Iterator[str]:
    for one in conditions:
        if one.status == "False" and one.reason in _TOLD:
            yield f"{one.reason}: {one.message}"
