"""``evoke get``: list resources."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import kinds, output, wording
from cli.errors import Usage
from cli.options import Session, command_line, new_app

app = new_app()

PERIOD = 1.0
"""Seconds between two looks while nothing happens."""

Resource = Mapping[str, Any]
Column = tuple[str, Callable[[Resource], object]]


def status(*path: str) -> Callable[[Resource], object]:
    """A reader of one field of the status."""

    def read(resource: Resource) -> object:
        found: Any = resource.get("status") or {}
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return read


def newest(resource: Resource) -> object:
    """The highest revision, without the function's name before it."""
    names = [str(one.get("name", "")) for one in (resource.get("status") or {}).get("revisions") or ()]
    return max(names).rpartition("-")[2] if names else None


def address(resource: Resource) -> object:
    found = (resource.get("status") or {}).get("addresses") or ()
    return next((one.get("value") for one in found), None)


def source_kinds(resource: Resource) -> str:
    own = ("mqtt", "kafka", "redis", "cron", "nats", "http")
    spec = resource.get("spec") or {}
    return ", ".join(f"{kind} {' '.join(spec[kind])}" for kind in own if isinstance(spec.get(kind), Mapping))


def bus_kind(resource: Resource) -> str:
    return next(
        (name for name in ("natsStreaming", "nats", "kafka", "mqtt") if (resource.get("spec") or {}).get(name)), "nats"
    )


COLUMNS: dict[str, tuple[Column, ...]] = {
    "function": (("REVISION", newest), ("REPLICAS", status("replicas")), ("URL", address)),
    "eventsource": (("SOURCE", source_kinds),),
    "eventbus": (("BROKER", bus_kind),),
    "serving": (("REPLICAS", status("replicas")),),
}


@command_line(
    app,
    example="""
    evoke get functions
    evoke get all -A -o yaml
    """,
)
def get(
    session: Session,
    kind: Annotated[str, typer.Argument(help="functions, eventsources, triggers, eventbuses... or all.")] = "all",
    name: Annotated[str | None, typer.Argument(help="One resource of that kind.")] = None,
    everywhere: Annotated[bool, typer.Option("-A", "--all-namespaces", help="In every namespace.")] = False,
    selector: Annotated[str, typer.Option("-l", "--selector", metavar="LABELS", help="Such as team=red,tier!=x.")] = "",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on and show each change.")] = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="With a column of labels.")] = False,
) -> None:
    """List resources: what stands, whether it is ready and, if not, for which reason."""
    kind, name = kinds.split(kind, name, all_too=True)
    if kind == "all" and name:
        raise Usage("`all` takes no name", hint="name the kind: evoke get function NAME")
    listing = Listing(session, kind, everywhere=everywhere, show_labels=show_labels)
    found = (
        [session.client.get(kind, name)]
        if name
        else session.client.items(kind, selector=selector, everywhere=everywhere)
    )
    found.sort(key=order)
    if watch and session.out.structured:
        for resource in found:
            session.out.item(resource, "")
    elif name and session.out.structured:
        session.out.show(found[0], "")
    elif found or session.out.structured:
        session.out.show({"items": found}, listing.lines(found))
    else:
        where = "any namespace" if everywhere else f"namespace {session.namespace}"
        session.out.talk(f"no {'resources' if kind == 'all' else kinds.plural(kind)} in {where}")
    if watch:
        listing.follow(found, name, selector)


def order(resource: Resource) -> tuple[str, int, str]:
    kind = resource["kind"].lower()
    rank = kinds.ORDER.index(kind) if kind in kinds.ORDER else len(kinds.ORDER)
    return resource["metadata"].get("namespace", ""), rank, resource["metadata"]["name"]


class Listing:
    """Rows of one `get`; columns stay the same while it watches."""

    def __init__(self, session: Session, kind: str, *, everywhere: bool, show_labels: bool) -> None:
        self._session, self._kind = session, kind
        self._everywhere, self._show_labels = everywhere, show_labels

    def columns(self) -> list[Column]:
        now = datetime.now(UTC)
        named: Column = ("NAME", lambda r: wording.name_of(r) if self._kind == "all" else r["metadata"]["name"])
        columns: list[Column] = [("NAMESPACE", lambda r: r["metadata"].get("namespace"))] if self._everywhere else []
        columns += [named, ("READY", wording.readiness), *COLUMNS.get(self._kind, ())]
        columns.append(("AGE", lambda r: wording.age(r["metadata"].get("creationTimestamp"), now)))
        if self._show_labels:
            columns.append(("LABELS", lambda r: output.labels(r["metadata"].get("labels") or {})))
        return columns

    def lines(self, resources: list[dict[str, Any]], *, header: bool = True) -> list[str]:
        columns = self.columns()
        rows = [[read(resource) for _, read in columns] for resource in resources]
        return output.table([title for title, _ in columns], rows)[0 if header else 1 :]

    def follow(self, shown: list[dict[str, Any]], name: str | None, selector: str) -> None:
        """Print each resource again whose spec or status is not what it was."""
        sys.stdout.flush()
        client, out = self._session.client, self._session.out
        before = {resource["metadata"].get("uid"): fingerprint(resource) for resource in shown}
        while True:
            for resource in client.items(self._kind, selector=selector, everywhere=self._everywhere):
                uid = resource["metadata"].get("uid")
                if (name and resource["metadata"]["name"] != name) or before.get(uid) == fingerprint(resource):
                    continue
                before[uid] = fingerprint(resource)
                out.item(resource, "\n".join(self.lines([resource], header=False)))
            # not every change is a happening: the next one, or a second, whichever comes first
            next(iter(client.watch(everywhere=self._everywhere, timeout=PERIOD)), None)


def fingerprint(resource: Resource) -> str:
    return output.to_json([resource.get("spec"), resource.get("status")])
