"""What one Function needs: its build, its revisions and who gets traffic; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from api.actions import Action, Ensure, Observed, Remove, Resource, RevisionState
from api.meta import Key, RevisionKey
from api.model import Backend, Workload
from api.scaling import ScalePolicy
from controller import authority, builds, revisions, traffic
from controller.readers.model import FunctionModel


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One function as it shall be."""

    resource: Resource
    model: FunctionModel
    policy: ScalePolicy
    """In force for the revisions that get traffic."""
    known: tuple[RevisionState, ...] = ()
    """Observed revisions, oldest first."""
    newest: RevisionState | None = None
    """The revision that the spec asks for now; None: not built."""
    backends: tuple[Backend, ...] = ()
    actions: tuple[Action, ...] = ()

    @property
    def key(self) -> Key:
        return self.resource.key


def deploy(resource: Resource, model: FunctionModel, observed: Observed, now: datetime) -> Deployment:
    """A function whose spec does not hold keeps what it has."""
    name = str(resource.key)
    known = revisions.of(resource.key, observed.revisions)
    policy = authority.in_force(model.scale, resource.annotations, capabilities=observed.capabilities)
    found = Deployment(
        resource=resource,
        model=model,
        policy=policy,
        known=known,
        newest=known[-1] if known else None,
        backends=traffic.backends(model.traffic, known),
    )
    if model.problems:
        return found
    workload = builds.built(model.workload, model.build, observed, name)
    if workload is not None:
        workload = revisions.settle(workload, known, resource.annotations)
    return msgspec.structs.replace(
        found,
        newest=_newest(workload, known, now),
        actions=(
            *builds.act(model.build, observed, name),
            *_ensure(found, workload),
            *_remove(found, workload, observed),
        ),
    )


def orphans(functions: Iterable[Key], observed: Observed) -> tuple[Remove, ...]:
    """Revisions of functions that are gone."""
    wanted = set(functions)
    return tuple(Remove(revision=state.key) for state in observed.revisions if state.key.function_key not in wanted)


def _newest(workload: Workload | None, known: Sequence[RevisionState], now: datetime) -> RevisionState | None:
    if workload is None:
        return None
    found = next((state for state in known if state.key == workload.key), None)
    return found or RevisionState(key=workload.key, digest=workload.revision_digest(), created=now)


def _ensure(found: Deployment, workload: Workload | None) -> list[Ensure]:
    """Every revision with the workload and policy it shall have, where it has not."""
    superseded = set(_superseded(found, workload))
    wanted = {one.key: one.workload for one in found.known if one.workload is not None and one.key not in superseded}
    if workload is not None:
        wanted[workload.key] = workload
    known = {state.key: state for state in found.known}
    actions = []
    for key in sorted(wanted):
        shall, policy = wanted[key], _policy(found, key, workload)
        state = known.get(key)
        if shall is not None and (state is None or state.workload != shall or state.scale != policy):
            actions.append(Ensure(workload=shall, scale=policy))
    return actions


def _policy(found: Deployment, revision: RevisionKey, workload: Workload | None) -> ScalePolicy:
    """In force where traffic goes or will go once it was ready; elsewhere the policy of a retired revision."""
    serving = any(backend.revision == revision for backend in found.backends)
    checked = any(state.key == revision and state.checked for state in found.known)
    coming = not checked and (workload is None or workload.key == revision)
    return found.policy if serving or coming else authority.retired(found.policy)


def _remove(found: Deployment, workload: Workload | None, observed: Observed) -> list[Remove]:
    kept = {backend.revision.revision for backend in found.backends}
    kept |= {revisions.rollback_target(found.resource.annotations), workload.key.revision if workload else ""}
    past = revisions.past_retention(found.known, limit=found.model.history_limit, kept=kept, replicas=observed.replicas)
    gone = (*past, *_superseded(found, workload))
    return [Remove(revision=key) for key in dict.fromkeys(gone)]


def _superseded(found: Deployment, workload: Workload | None) -> tuple[RevisionKey, ...]:
    """Revisions that never were ready, and that a newer one took the place of: they have served nobody."""
    if workload is None:
        return ()
    kept = {workload.key.revision, revisions.rollback_target(found.resource.annotations)}
    return tuple(state.key for state in found.known if not state.checked and state.key.revision not in kept)
