"""``evoke describe``: everything about one resource that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import kinds, output, sections, wording
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
    headline = function_headline(resource, facts) if kind == "function" else plain_headline(resource)
    lines = sections.text(resource, facts, datetime.now(UTC))
    if happenings:
        lines += ["", *(f"{one['at'][11:19]}  {one['type']:<14} {one.get('message', '')}" for one in happenings)]
    # the headline stands alone above two empty lines: `head -3` shows it and nothing cut off
    session.out.show(facts, [session.out.paint(headline, "bold"), "", "", *lines])


def function_headline(resource: Facts, facts: Facts) -> str:
    """``Ready True · 1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 4 min 50 s · dead letters 0``"""
    running = [one for one in facts.get("replicas") or () if one.get("phase") == "ready"]
    scaling = (facts.get("scaling") or {}).get("line") or wording.counted(len(running), "replica")
    return " · ".join((truth(resource, facts), scaling, f"dead letters {facts.get('deadLetters', 0)}"))


def plain_headline(resource: Facts) -> str:
    """``Ready True · nats 2.15, on disk``"""
    status = resource.get("status") or {}
    message = wording.condition(status).get("message") or wording.condition(status, "Connected").get("message")
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


def recent(session: Session, resource: str, count: int) -> list[dict[str, Any]]:
    """The last *count* happenings of *resource* that the platform remembers."""
    happenings = session.client.watch(since="1h", timeout=GLANCE)
    return [one for one in happenings if one.get("resource") == resource][-count:]
