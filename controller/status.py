"""What was observed, as conditions and status fields; pure. The store adds Ready and the times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from api.actions import Observed, Resource, RevisionState, Status
from api.conditions import Condition, false, true, unknown
from api.errors import Problem
from api.meta import Key, RevisionKey
from api.model import Backend, Image, Replica, Source
from api.scaling import Authority, ScalePolicy
from controller.readers.model import accepted_reason
from triggers.sources.webhook import default_path


def status(resource: Resource, conditions: Iterable[Condition], **fields: Any) -> Status:
    return Status(kind=resource.kind, key=resource.key, conditions=tuple(conditions), fields=fields)


def accepted(problems: Sequence[Problem], notes: Sequence[Problem] = ()) -> Condition:
    """False names every problem; what is only not honoured is named too, and leaves Ready as it is."""
    found = (*problems, *notes)
    if not found:
        return true("Accepted")
    return false("Accepted", accepted_reason(found[0]), "; ".join(_short(problem) for problem in found))


def settings(problems: Sequence[Problem], notes: Sequence[Problem]) -> Condition:
    """Accepted of a kind that has nothing else to say: what is not honoured leaves the rest in force."""
    if problems or not notes:
        return accepted(problems, notes)
    return true("Accepted", message="; ".join(_short(note) for note in notes))


def not_yet(resource: Resource) -> Status:
    """Of a kind that is read and kept, and not acted on."""
    message = f"{resource.kind} is stored but not acted on in this release"
    return status(resource, [false("Accepted", "NotYet", message)])


def available(
    newest: RevisionState | None, backends: Sequence[Backend], known: Sequence[RevisionState], observed: Observed
) -> Condition:
    """*newest* is the revision that the spec asks for now; None: it is not built yet."""
    serving = {backend.revision for backend in backends}
    names = ", ".join(sorted(one.revision for one in serving))
    if newest is None:
        if serving:
            return _running(serving, observed, f"revision {names} goes on")
        return unknown("Available", "Starting", "waits for the build")
    if newest.problem:
        message = newest.message or newest.problem
        goes_on = f"; revision {names} goes on" if serving - {newest.key} else ""
        return false("Available", newest.problem, message + goes_on)
    if not newest.checked:
        goes_on = f"; revision {names} goes on" if serving else ""
        return unknown("Available", "Starting", f"revision {newest.key.revision} is on its way{goes_on}")
    broken = next((state for state in known if state.key in serving and state.problem), None)
    if broken is not None:
        return false("Available", broken.problem, f"revision {broken.key.revision}: {broken.message}")
    return _running(serving, observed, "")


def _running(serving: Iterable[RevisionKey], observed: Observed, message: str) -> Condition:
    keys = set(serving)
    alive = any(one.revision in keys and one.phase in {"starting", "ready"} for one in observed.replicas)
    if alive:
        return true("Available", message=message)
    return true("Available", "IdleAtZero", message or "the first event or request starts a replica")


def routed(exposed: bool, refused: Mapping[str, Key], observed: Observed) -> Condition:
    """*refused* hosts belong to another function."""
    if not exposed:
        return true("Routed", "NotExposed", "the function has no HTTP trigger")
    if refused:
        host, owner = next(iter(sorted(refused.items())))
        return false("Routed", "HostConflict", f"host {host} belongs to function {owner}; choose another")
    if "gateway" not in observed.agents.values():
        return unknown("Routed", "NoGateway", "no gateway is connected yet")
    return true("Routed")


def subscribed(keys: Iterable[Key], missing: Sequence[str], observed: Observed) -> Condition:
    """*missing* names buses and components that subscriptions ask for and that are not there."""
    if missing:
        return false("Subscribed", "BusNotFound", f"event bus {missing[0]} does not exist in this namespace")
    keys = sorted(keys)
    if not keys:
        return true("Subscribed", "NothingToSubscribe")
    return _worst("Subscribed", keys, observed.subscriptions, "no proxy owns {} yet")


def connected(keys: Iterable[Key], facts: Mapping[str, str], missing: Sequence[str] = ()) -> Condition:
    """Connection of a bus or of every event of a source; *missing* names buses that are not there."""
    if missing:
        return false("Connected", "Unreachable", f"event bus {missing[0]} does not exist in this namespace")
    return _worst("Connected", sorted(keys), facts, "no proxy has taken {} yet")


def _worst(type_: str, keys: Sequence[Key], facts: Mapping[str, str], waiting: str) -> Condition:
    """False if one is, else Unknown if nobody spoke about one yet, else True."""
    for key in keys:
        if fact := facts.get(str(key)):
            reason, _, message = fact.partition(": ")
            return false(type_, reason, message)
    silent = next((key for key in keys if str(key) not in facts), None)
    if silent is not None:
        return unknown(type_, "Unassigned", waiting.format(silent.name))
    return true(type_)


def scaling(policy: ScalePolicy, function: Key, observed: Observed) -> Condition:
    """Condition Scaling; AtMax and Paused leave Ready as it is."""
    if policy.authority is Authority.PAUSED:
        at = "" if policy.paused_at is None else f" at {policy.paused_at}"
        return false("Scaling", "Paused", f"paused{at}; `evoke scale {function.name} --resume` goes on")
    if fact := observed.scaling.get(str(function)):
        reason, _, message = fact.partition(": ")
        return false("Scaling", reason, message)
    return true("Scaling")


def active(replicas: Iterable[Replica]) -> Condition:
    running = sum(1 for one in replicas if one.phase in {"starting", "ready"})
    return true("Active", message=f"{running} running") if running else false("Active", "Idle", "no replica runs")


def revisions(
    known: Sequence[RevisionState], backends: Sequence[Backend], replicas: Sequence[Replica]
) -> list[dict[str, Any]]:
    """Newest first, as `describe` and `rollback --list` show them."""
    weights: dict[RevisionKey, int] = {}
    for backend in backends:
        weights[backend.revision] = weights.get(backend.revision, 0) + backend.weight
    total = sum(weights.values()) or 1
    return [
        {
            "name": f"{state.key.function}-{state.key.revision}",
            "ready": state.checked and not state.problem,
            "replicas": sum(1 for one in replicas if one.revision == state.key and one.phase == "ready"),
            "created": state.created.isoformat(),
            "traffic": round(100 * weights.get(state.key, 0) / total),
            "problem": ": ".join(part for part in (state.problem, state.message) if part),
        }
        for state in reversed(known)
    ]


_BUILD = {"Unknown": "Building", "True": "Succeeded", "False": "Failed"}
_SERVING = {"Unknown": "Starting", "True": "Running", "False": "Failed"}
_STATES = {
    "NoBuild": "Skipped",
    "BuildTimeout": "Timeout",
    "Canceled": "Canceled",
    "StartTimeout": "Timeout",
}
"""OpenFunction's states by reason; everything else by the condition's status."""


def legacy(condition: Condition) -> dict[str, str]:
    """``status.build`` or ``status.serving`` as OpenFunction's clients read it."""
    states = _BUILD if condition.type == "Built" else _SERVING
    state = _STATES.get(condition.reason, states[condition.status])
    fields = {"state": state, "reason": condition.reason, "message": condition.message}
    return {name: text for name, text in fields.items() if text}


def addresses(function: Key, hosts: Iterable[str], observed: Observed) -> list[dict[str, str]]:
    """Where the function is reached: the gateway's path, and its hosts."""
    internal = {"type": "Internal", "value": f"{observed.url}/function/{function.namespace}/{function.name}"}
    return [internal, *({"type": "External", "value": f"http://{host}/"} for host in sorted(hosts))]


def webhooks(sources: Iterable[Source], observed: Observed) -> list[dict[str, str]]:
    """Where the events of kind http of an EventSource are delivered to."""
    served = (one for one in sources if one.kind == "http")
    paths = (str(one.options.get("path") or default_path(one)) for one in served)
    return [{"type": "Internal", "value": f"{observed.url}{path}"} for path in paths]


def image(known: Sequence[RevisionState]) -> dict[str, str]:
    """``status.revision``: the digest of the newest revision's image, where it is pinned by one."""
    workload = known[-1].workload if known else None
    if workload is None or not isinstance(workload.artifact, Image):
        return {}
    _, _, pinned = workload.artifact.reference.partition("@")
    return {"imageDigest": pinned} if pinned else {}


def buses_of(name: str, namespaces: Iterable[str]) -> tuple[Key, ...]:
    """A cluster-wide bus as every namespace names it."""
    return tuple(Key(namespace, name) for namespace in sorted(namespaces))


def _short(problem: Problem) -> str:
    return str(msgspec.structs.replace(problem, code="", file="", line=0)).strip()
