"""``evoke delete``"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from api.errors import NotFound
from cli import documents, kinds
from cli.errors import Failed, Usage
from cli.options import Session, command_line, new_app
from cli.waiting import until

app = new_app()

Named = tuple[str, str]
"""Kind and name."""


@command_line(
    app,
    example="""
    evoke delete function on-reading
    evoke delete -f function.yaml
    """,
)
def delete(
    session: Session,
    kind: Annotated[str | None, typer.Argument(help="The kind, or KIND/NAME.")] = None,
    name: Annotated[str | None, typer.Argument(help="The resource.")] = None,
    files: Annotated[list[Path] | None, typer.Option("-f", "--filename", help="What these files define.")] = None,
    selector: Annotated[
        str, typer.Option("-l", "--selector", metavar="LABELS", help="All of the kind with these labels.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until replicas and subscriptions are gone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ignore: Annotated[bool, typer.Option("--ignore-not-found", help="What is not there counts as deleted.")] = False,
) -> None:
    """Delete resources, with their replicas, revisions and the broker groups of their subscriptions."""
    chosen = list(choose(session, kind, name, files or [], selector))
    if selector and not yes:
        confirm(f"delete {', '.join(f'{k}/{n}' for k, n in chosen) or 'nothing'}?")
    gone = [pair for pair in chosen if remove(session, *pair, ignore=ignore)]
    if wait:
        until(lambda: all(absent(session, *pair) for pair in gone), what="deletion", out=session.out)
    session.out.done({"deleted": [f"{k}/{n}" for k, n in gone]}, [f"{k}/{n} deleted" for k, n in gone])


def choose(session: Session, kind: str | None, name: str | None, files: list[Path], selector: str) -> Iterable[Named]:
    """What the words on the command line stand for."""
    if files and (kind or name):
        raise Usage("give KIND NAME or -f, not both")
    if files:
        found = documents.load(files, namespace=session.namespace)
        return [(one["resource"]["kind"].lower(), one["resource"]["metadata"]["name"]) for one in reversed(found)]
    if kind is None:
        raise Usage("delete needs KIND NAME or -f PATH", hint="for example: evoke delete function on-reading")
    kind, name = kinds.split(kind, name)
    if bool(name) == bool(selector):
        raise Usage("delete needs a NAME or -l LABELS", hint=f"`evoke get {kinds.plural(kind)}` lists them")
    if name:
        return [(kind, name)]
    return [(kind, item["metadata"]["name"]) for item in session.client.items(kind, selector=selector)]


def remove(session: Session, kind: str, name: str, *, ignore: bool) -> bool:
    try:
        session.client.delete(kind, name)
    except NotFound:
        if not ignore:
            raise
        return False
    return True


def absent(session: Session, kind: str, name: str) -> bool:
    found: list[dict[str, Any]] = session.client.items(kind)
    return all(item["metadata"]["name"] != name for item in found)


def confirm(question: str) -> None:
    """Ask on a terminal; elsewhere only --yes counts."""
    if not sys.stdin.isatty():
        raise Usage("this asks before it acts, and there is no terminal", code="E165", hint="add --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failed("nothing was changed", code="E165")
