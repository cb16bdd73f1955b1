"""``evoke rollback``: the content of an earlier revision as a new one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import sections
from cli.commands.apply import wait_ready
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(
    app,
    example="""
    evoke rollback on-reading --list
    evoke rollback on-reading 00001 --wait
    """,
)
def rollback(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function.")],
    revision: Annotated[str | None, typer.Argument(help="Such as 00002; default: the one before.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the revisions and stop.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until the new revision is ready.")] = False,
) -> None:
    """Bring an earlier revision's content back as a new revision, so that the next deploy follows as usual."""
    if list_:
        facts = session.client.function(name)
        lines = sections.table("revisions", facts, datetime.now(UTC))
        session.out.show({"revisions": facts.get("revisions", [])}, lines or [f"function/{name} has no revision yet"])
        return
    answer = session.client.rollback(name, revision and revision.rpartition("-")[2], dry_run=dry_run)
    would = "would go" if dry_run else "goes"
    said = f"function/{name} {would} back from revision {answer['from']} to the content of {answer['revision']}"
    session.out.done(answer, said)
    if wait and not dry_run:
        wait_ready(session, [f"function/{name}"], timedelta(minutes=2))
