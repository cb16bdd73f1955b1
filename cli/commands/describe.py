"""``evoke describe``: everything about one resource that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import kinds, output, wording
from cli.errors import Usage
from cli.options import Session, command_line, new_app

app = new_app()

GLANCE = 0.3
"""Seconds to wait for past happenings, which the platform sends at once."""

Facts = Mapping[str, Any]


@command_line(app, example="evoke describe function on-reading")
def describe(
    session: Session,
    kind: Annotated[str, typer.Argument(help="The kind, or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(help="The resource.")] = None,
    events: Annotated[int, typer.Option("--events", metavar="N", min=0, help="With the last N happenings.")] = 0,
) -> None:
    """Show one resource: its conditions, revisions, the last scaling decision with its inputs, and what to do next."""
    kind, name = kinds.split(kind, name)
    if name is None:
        raise Usage("describe needs a NAME", hint=f"`evoke get {kinds.plural(kind)}` lists them")
    resource = session.client.get(kind, name)
    facts: dict[str, Any] = dict(resource.get("status") or {})
    if kind == "function":
        facts |= session.client.function(name)
    happenings = recent(session, f"{kind}/{name}", events) if events else []
    if session.out.structured:
        session.out.show({**resource, "status": facts, **({"happenings": happenings} if events else {})}, "")
        return
    now = datetime.now(UTC)
    headline = function_headline(resource, facts) if kind == "function" else plain_headline(resource)
    # the headline stands alone: two empty lines, so that `head -3` shows it and nothing cut off
    lines = [headline, "", ""]
    for section in (
        conditions(facts, now), revisions(facts, now), replicas(facts, now), subscriptions(facts), scaling(facts),
        about(resource, facts, now), [f"{one['at'][11:19]}  {one['type']:<14} {one.get('message', '')}" for one in happenings],
        next_step(resource, facts),
    ):  # fmt: skip
        if section:
            lines += [*section, ""]
    session.out.show({}, [session.out.paint(lines[0], "bold"), *lines[1:-1]])


def function_headline(resource: Facts, facts: Facts) -> str:
    """``Ready True · 1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 4 min 50 s · dead letters 0``"""
    scaling = facts.get("scaling") or {}
    running = [one for one in facts.get("replicas") or () if one.get("phase") != "gone"]
    bounds = f"{scaling.get('min', 0)}..{scaling.get('max', 10)}"
    inputs = scaling.get("inputs") or {}
    lag = inputs.get("lag", sum(one.get("lag", 0) for one in facts.get("subscriptions") or ()))
    busy = inputs.get("in_flight", sum(one.get("in_flight", 0) for one in running))
    said = [f"in-flight {busy:.0f}", f"lag {lag:.0f}"]
    if rest := outlook(scaling):
        said.append(rest)
    count = wording.counted(len(running), "replica")
    authority = scaling.get("authority", "Evoke")
    return " · ".join(
        (
            truth(resource, facts),
            f"{count} of {bounds}, by {authority}: {', '.join(said)}",
            f"dead letters {facts.get('deadLetters', 0)}",
        )
    )


def outlook(scaling: Facts) -> str:
    """When the count changes if nothing comes, or what holds it."""
    limiter = scaling.get("limiter", "none")
    left = wording.duration(scaling.get("next_change", scaling.get("nextChange")))
    if limiter == "cooldown" and left is not None:
        return f"to zero in {wording.span(left)}"
    if limiter in {"blind", "paused", "external", "fallback"}:
        return str(scaling.get("because", limiter))
    return f"limited by {limiter}" if limiter in {"max", "runnable"} else ""


def plain_headline(resource: Facts) -> str:
    status = resource.get("status") or {}
    message = wording.condition(status).get("message") or status.get("detail") or ""
    return truth(resource, status) + (f" · {message}" if message and wording.is_ready(resource) else "")


def truth(resource: Facts, facts: Facts) -> str:
    """``Ready True``, or ``Ready False HandlerError: main.py:3: ...``"""
    ready = wording.condition(facts)
    if not ready:
        return "Ready Unknown: nothing has been seen of it yet"
    if ready["status"] == "True":
        generation = resource["metadata"].get("generation") or 0
        return "Ready True" if (ready.get("observedGeneration") or 0) >= generation else "Ready Unknown: just changed"
    message = f": {output.one_line(ready['message'])}" if ready.get("message") else ""
    return f"Ready {ready['status']} {ready.get('reason', '')}{message}"


def conditions(facts: Facts, now: datetime) -> list[str]:
    found: Sequence[Facts] = facts.get("conditions") or ()
    rows = [
        (
            one["type"],
            one["status"],
            one.get("reason"),
            wording.age(one.get("lastTransitionTime"), now),
            one.get("message"),
        )
        for one in found
    ]
    return output.table(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows) if rows else []


def revisions(facts: Facts, now: datetime) -> list[str]:
    rows = [
        (
            one.get("name"),
            one.get("ready"),
            one.get("replicas"),
            share(one.get("traffic")),
            wording.age(one.get("created"), now),
            one.get("problem"),
        )
        for one in facts.get("revisions") or ()
    ]
    return output.table(["REVISION", "READY", "REPLICAS", "TRAFFIC", "AGE", "PROBLEM"], rows) if rows else []


def share(traffic: object) -> str:
    return f"{traffic} %" if traffic else ""


def replicas(facts: Facts, now: datetime) -> list[str]:
    rows = [
        (
            one.get("id"),
            one.get("revision"),
            one.get("phase"),
            one.get("in_flight"),
            one.get("pid"),
            wording.age(one.get("since"), now),
        )
        for one in facts.get("replicas") or ()
    ]
    return output.table(["REPLICA", "REVISION", "PHASE", "IN-FLIGHT", "PID", "AGE"], rows) if rows else []


def subscriptions(facts: Facts) -> list[str]:
    rows = [
        (subscription_name(one), one.get("lag", 0), one.get("in_flight", 0), one.get("parked", 0), one.get("done", 0), one.get("failed", 0),
         one.get("dead", 0), one.get("condition") or one.get("blind") or one.get("last_error"))
        for one in facts.get("subscriptions") or ()
    ]  # fmt: skip
    header = ["SUBSCRIPTION", "LAG", "IN-FLIGHT", "PARKED", "DONE", "FAILED", "DEAD", "PROBLEM"]
    return output.table(header, rows) if rows else []


def subscription_name(one: Facts) -> object:
    key = one.get("subscription")
    return key.get("name") if isinstance(key, Mapping) else key


def scaling(facts: Facts) -> list[str]:
    decision: Facts = facts.get("scaling") or {}
    if not decision:
        return []
    said = [f"scaling    {decision.get('replicas', '-')} wanted: {decision.get('because') or 'nothing waits'}"]
    if (limiter := decision.get("limiter", "none")) != "none":
        said.append(f"limited by {limiter}")
    inputs = {name: value for name, value in (decision.get("inputs") or {}).items() if value not in (0, "", None)}
    if inputs:
        said.append(
            "inputs     " + ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in inputs.items())
        )
    return said


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def about(resource: Facts, facts: Facts, now: datetime) -> list[str]:
    meta = resource["metadata"]
    cold = facts.get("cold_start_ms")
    known = {
        "url": facts.get("url"),
        "cold start": f"{cold:.0f} ms" if cold else None,
        "labels": output.labels(meta.get("labels") or {}),
        "created": f"{wording.age(meta.get('creationTimestamp'), now)} ago, generation {meta.get('generation')}",
    }
    return [f"{name:<10} {value}" for name, value in known.items() if value]


def next_step(resource: Facts, facts: Facts) -> list[str]:
    """The command that helps on, where one does."""
    name = resource["metadata"]["name"]
    reason = wording.condition(facts).get("reason")
    if reason in {"HandlerError", "CrashLoop", "OutOfMemory", "StartTimeout"}:
        return [f"next       evoke logs {name} --previous"]
    if reason in {"BuildFailed", "BuildTimeout"}:
        return [f"next       evoke logs {name} --build"]
    if facts.get("deadLetters"):
        return [f"next       evoke dead-letters list {name}"]
    return []


def recent(session: Session, resource: str, count: int) -> list[dict[str, Any]]:
    """The last *count* happenings of *resource* that the platform remembers."""
    happenings = session.client.watch(since="1h", timeout=GLANCE)
    return [one for one in happenings if one.get("resource") == resource][-count:]
