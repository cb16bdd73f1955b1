"""``evoke apply``: everything is checked before anything is written."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from api.errors import NotFound
from api.files import STDIN
from cli import documents, output, project, readiness, wording
from cli.errors import Failed, Usage
from cli.options import Session, command_line, new_app
from cli.waiting import until

app = new_app()


@command_line(
    app,
    example="""
    evoke apply -f function.yaml --wait
    evoke apply -f . --diff --dry-run
    """,
)
def apply(
    session: Session,
    files: Annotated[
        list[Path] | None, typer.Option("-f", "--filename", help="File, folder, or - for stdin; may be given often.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what differs from what is there.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what this folder applied before and no longer has.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until everything is ready.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="For --wait.")] = 120,
) -> None:
    """Create or change resources. All documents are checked before the first write: one mistake changes nothing."""
    if not files:
        raise Usage("apply needs -f PATH", hint="for example: evoke apply -f function.yaml, or -f - for stdin")
    if prune and not (len(files) == 1 and files[0].is_dir()):
        raise Usage("--prune takes one folder", hint="for example: evoke apply -f . --prune")
    found = documents.load(files, namespace=session.namespace, talk=None if session.out.quiet else sys.stderr)
    if diff:
        for document in found:
            show_difference(session, document)
    results = session.client.apply(found, dry_run=dry_run, project=label_of(files), prune=prune)
    report(session, results, dry_run=dry_run)
    if wait and not dry_run:
        wait_ready(session, names(results), timedelta(seconds=timeout))


def label_of(files: Sequence[Path]) -> str:
    """Label of the folder that is applied, as `evoke up` sets it: what it had before can be pruned by it."""
    first = files[0]
    if str(first) == STDIN:
        return ""
    return project.label(first if first.is_dir() else first.parent)


def report(session: Session, results: Sequence[dict[str, Any]], *, dry_run: bool = False) -> None:
    """One line per resource; warnings on stderr."""
    report_warnings(session, results)
    suffix = " (dry run)" if dry_run else ""
    lines = [f"{one['kind'].lower()}/{one['name']} {one['outcome']}{suffix}" for one in results]
    session.out.done({"results": list(results)}, lines)


def names(results: Sequence[dict[str, Any]]) -> list[str]:
    """``kind/name`` of what stands now and has a status."""
    there = [one for one in results if one["outcome"] != "pruned" and one["kind"] != "Secret"]
    return [f"{one['kind'].lower()}/{one['name']}" for one in there]


def report_warnings(session: Session, results: Sequence[dict[str, Any]]) -> None:
    """What is read and not honoured is said, never silent."""
    for one in results:
        for warning in one.get("warnings") or ():
            place = " ".join(str(warning[part]) for part in ("code", "path") if warning.get(part))
            session.out.talk(f"warning: {one['kind'].lower()}/{one['name']}: {place}: {warning.get('message', '')}")


def show_difference(session: Session, document: dict[str, Any]) -> None:
    """A unified diff of spec and labels against what is there."""
    resource = document["resource"]
    kind, name = resource["kind"].lower(), resource["metadata"]["name"]
    try:
        there = comparable(session.client.get(kind, name))
    except NotFound:
        there = ""
    lines = difflib.unified_diff(
        there.splitlines(),
        comparable(resource).splitlines(),
        f"{kind}/{name} there",
        f"{kind}/{name} here",
        lineterm="",
    )
    styles = {"+": "good", "-": "bad", "@": "dim"}
    for line in lines:
        session.out.talk(session.out.paint(line, styles[line[0]]) if line[:1] in styles else line)


def comparable(resource: dict[str, Any]) -> str:
    meta = resource.get("metadata") or {}
    own = {key: value for key, value in (meta.get("labels") or {}).items() if key != project.LABEL}
    return output.to_yaml({"labels": own, "spec": resource.get("spec") or {}}, ordered=True)


def wait_ready(session: Session, wanted: Sequence[str], timeout: timedelta) -> None:
    """Return when all of *wanted* (``kind/name``) are Ready; Failed as soon as one cannot become it."""

    def missing() -> bool | str:
        there = {wording.name_of(one): one for one in session.client.items("all")}
        for name in readiness.in_order(wanted):
            resource = there.get(name)
            if resource is not None and wording.is_ready(resource):
                continue
            if resource is not None and readiness.settled(resource):
                raise Failed(
                    " ".join(readiness.line(resource).split()), code="E197", hint=f"see `evoke describe {name}`"
                )
            return f"{name} {wording.readiness(resource) if resource else 'is not there'}"
        return True

    until(missing, what="ready", out=session.out, timeout=timeout)
    session.out.talk(f"{wording.counted(len(wanted), 'resource')} ready")
