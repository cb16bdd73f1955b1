"""``evoke dead-letters``: events that were given up on, with the reason; look, replay, purge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.errors import NotFound
from cli import output, wording
from cli.commands.delete import confirm
from cli.errors import Failed, Usage
from cli.options import Session, command_line, new_app

app = new_app(group="Events that a trigger gave up on, each with its reason; they wait here until replayed or purged.")

Trigger = Annotated[str, typer.Argument(metavar="TRIGGER", help="The trigger, or the function for its own triggers.")]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only these; may be given often.")]
Reason = Annotated[str, typer.Option("--reason", help="Only with this reason.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="Only later ones: 10m, or a time.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
All = Annotated[bool, typer.Option("--all", help="Every one of the trigger.")]


def find(session: Session, trigger: str, ids: list[str] | None, reason: str, since: str) -> list[dict[str, Any]]:
    wanted = set(ids or ())
    single = ids[0] if ids and len(ids) == 1 else None
    letters = session.client.dead_letters(trigger, id=single, reason=reason, since=since)
    return [letter for letter in letters if not wanted or letter.get("id") in wanted]


@command_line(app, "list", example="evoke dead-letters list on-reading --since 1h")
def list_(session: Session, trigger: Trigger, ids: Ids = None, reason: Reason = "", since: Since = "") -> None:
    """List a trigger's dead letters: when, why, after how many attempts."""
    found = find(session, trigger, ids, reason, since)
    if not found and not session.out.structured:
        session.out.talk(f"no dead letters of {trigger}")
        return
    now = datetime.now(UTC)
    rows = [
        (one.get("id"), wording.age(one.get("at") or one.get("time"), now), one.get("attempts"), one.get("reason"),
         one.get("error") if isinstance(one.get("error"), str) else (one.get("error") or {}).get("message"))
        for one in found
    ]  # fmt: skip
    session.out.show({"items": found}, output.table(["ID", "AGE", "ATTEMPTS", "REASON", "ERROR"], rows))


@command_line(app, "show", example="evoke dead-letters show on-reading --id 17")
def show(session: Session, trigger: Trigger, ids: Ids = None, reason: Reason = "", since: Since = "") -> None:
    """Show dead letters whole, the original event included, one JSON object per line."""
    found = find(session, trigger, ids, reason, since)
    if ids and not found:
        raise NotFound(
            f"no dead letter {ids[0]} of {trigger}", code="E194", hint="`evoke dead-letters list` lists them"
        )
    for letter in found:
        session.out.item(letter, output.to_json(letter))


@command_line(
    app,
    "replay",
    example="""
    evoke dead-letters replay on-reading --id 17
    evoke dead-letters replay on-reading --all --yes
    """,
)
def replay(
    session: Session,
    trigger: Trigger,
    ids: Ids = None,
    reason: Reason = "",
    since: Since = "",
    all_: All = False,
    yes: Yes = False,
) -> None:
    """Deliver dead letters again, to that trigger only, with fresh attempts."""
    chosen = choose(session, trigger, ids, reason, since, all_=all_)
    if chosen is None and not yes:
        confirm(f"replay every dead letter of {trigger}?")
    count = session.client.replay(trigger, chosen)
    report(session, "replayed", count, chosen)


@command_line(app, "purge", example="evoke dead-letters purge on-reading --reason rejected --yes")
def purge(
    session: Session,
    trigger: Trigger,
    ids: Ids = None,
    reason: Reason = "",
    since: Since = "",
    all_: All = False,
    yes: Yes = False,
) -> None:
    """Delete dead letters for good."""
    chosen = choose(session, trigger, ids, reason, since, all_=all_)
    if not yes:
        what = "every dead letter" if chosen is None else wording.counted(len(chosen), "dead letter")
        confirm(f"delete {what} of {trigger} for good?")
    count = session.client.purge(trigger, chosen)
    report(session, "purged", count, chosen)


def choose(
    session: Session, trigger: str, ids: list[str] | None, reason: str, since: str, *, all_: bool
) -> list[str] | None:
    """Ids to act on; None: every one."""
    if all_ and not (ids or reason or since):
        return None
    if not (ids or reason or since):
        raise Usage("say which", hint="give --id, --reason, --since or --all")
    if ids and not reason and not since:
        return ids
    found = [str(letter["id"]) for letter in find(session, trigger, ids, reason, since)]
    if not found:
        raise NotFound(f"no such dead letters of {trigger}", code="E194", hint="`evoke dead-letters list` lists them")
    return found


def report(session: Session, verb: str, count: int, chosen: list[str] | None) -> None:
    if chosen is not None and count < len(chosen):
        raise Failed(f"{verb} {count} of {len(chosen)}: the others are not there", code="E194")
    session.out.done({verb: count}, f"{verb} {count}")
