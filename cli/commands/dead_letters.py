"""``evoke dead-letters``: events that were given up on, with the reason; look, replay, purge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.errors import NotFound
from cli import letters, output, wording
from cli.client import Client
from cli.commands.delete import confirm
from cli.errors import Failed, Usage
from cli.letters import Form
from cli.options import Session, command_line, new_app

app = new_app(group="Events that a trigger gave up on, each with its reason; they wait here until replayed or purged.")

Trigger = Annotated[str, typer.Argument(metavar="TRIGGER", help="The trigger, or the function for its own triggers.")]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only these; may be given often.")]
Reason = Annotated[str, typer.Option("--reason", help="Only with this reason, such as rejected or max-attempts.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="Only later ones: 10m, or a time.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Only the last N; 0: all.")]
Bytes = Annotated[Form, typer.Option("--bytes", metavar="json|hex|base64", help="How to show the event's bytes.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
All = Annotated[bool, typer.Option("--all", help="Every one of the trigger.")]


def find(
    session: Session, trigger: str, ids: list[str] | None, reason: str, since: str, **query: object
) -> list[dict[str, Any]]:
    """Letters that the options ask for; naming one that is not there is a mistake."""
    single = ids[0] if ids and len(ids) == 1 else None
    found = list(session.client.dead_letters(trigger, id=single, reason=reason, since=since, **query))
    chosen = [letter for letter in found if not ids or letter.get("id") in ids]
    if ids and not chosen:
        raise NotFound(
            f"no dead letter {ids[0]} of {trigger}", code="E194", hint=f"`evoke dead-letters list {trigger}` lists them"
        )
    return chosen


@command_line(app, "list", example="evoke dead-letters list on-reading --since 1h --limit 20")
def list_(
    session: Session, trigger: Trigger, ids: Ids = None, reason: Reason = "", since: Since = "", limit: Limit = 0
) -> None:
    """List a trigger's dead letters: when, why, after how many attempts."""
    found = find(session, trigger, ids, reason, since, limit=limit or None)
    if not found and not session.out.structured:
        session.out.talk(f"no dead letters of {trigger}")
        return
    now = datetime.now(UTC)
    rows = [letters.row(one, now) for one in found]
    session.out.show({"items": found}, output.table(["ID", "AGE", "ATTEMPTS", "REASON", "ERROR"], rows))


@command_line(
    app,
    "show",
    example="""
    evoke dead-letters show on-reading --id 0-17
    evoke dead-letters show on-reading --limit 1 --bytes hex
    """,
)
def show(
    session: Session,
    trigger: Trigger,
    ids: Ids = None,
    reason: Reason = "",
    since: Since = "",
    limit: Limit = 0,
    form: Bytes = Form.json,
) -> None:
    """Show dead letters whole: reason, error, attempts, and the original event; with -o json one object per line."""
    found = find(session, trigger, ids, reason, since, limit=limit or None, bytes=form is not Form.json)
    if not found and not session.out.structured:
        session.out.talk(f"no dead letters of {trigger}")
    now = datetime.now(UTC)
    for number, letter in enumerate(found):
        lines = [*([""] if number else []), *letters.text(letter, form, now)]
        session.out.item(letter, "\n".join(lines))


def change(name: str, done: str, question: str, act: Callable[[Client, str, list[str] | None], int]) -> Any:
    """A command that changes letters: choose, ask, *act*, report."""

    def body(
        session: Session,
        trigger: Trigger,
        ids: Ids = None,
        reason: Reason = "",
        since: Since = "",
        all_: All = False,
        yes: Yes = False,
    ) -> None:
        chosen = choose(session, trigger, ids, reason, since, all_=all_)
        if not yes and (chosen is None or name == "purge"):
            what = "every dead letter" if chosen is None else wording.counted(len(chosen), "dead letter")
            confirm(question.format(what=what, trigger=trigger))
        count = act(session.client, trigger, chosen)
        if chosen is not None and count < len(chosen):
            raise Failed(f"{done} {count} of {len(chosen)}: the others are not there", code="E194")
        session.out.done({done: count}, f"{done} {count}")

    body.__name__ = name
    return body


replay = change("replay", "replayed", "replay {what} of {trigger}?", Client.replay)
replay.__doc__ = "Deliver dead letters again, to that trigger only, with fresh attempts."
command_line(
    app,
    "replay",
    example="""
    evoke dead-letters replay on-reading --id 0-17
    evoke dead-letters replay on-reading --all --yes
    """,
)(replay)

purge = change("purge", "purged", "delete {what} of {trigger} for good?", Client.purge)
purge.__doc__ = "Delete dead letters for good."
command_line(app, "purge", example="evoke dead-letters purge on-reading --reason rejected --yes")(purge)


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
