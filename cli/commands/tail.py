"""``evoke tail``: events of a subject as JSON lines."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Session, command_line, new_app
from cli.output import Format, to_json

app = new_app()


@command_line(app, example="evoke tail alarms --since 10m -c 1")
def tail(
    session: Session,
    subject: Annotated[str, typer.Argument(help="Subject; ends in > for all below it.")],
    bus: Annotated[str, typer.Option("--bus", metavar="NAME", help="The event bus.")] = "default",
    condition: Annotated[str, typer.Option("--filter", metavar="EXPR", help="Such as: event.data.celsius > 30")] = "",
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Begin in the past: 10m, or a time.")] = "",
    count: Annotated[int, typer.Option("-c", "--count", min=0, help="Stop after so many; 0: never.")] = 0,
) -> None:
    """Show events of a subject as they come, one JSON object per line. Takes nothing away from anybody."""
    events = session.client.tail(bus, subject, condition=condition, since=since)
    for number, event in enumerate(events, 1):
        session.out.item(event, to_json(event) if session.out.form is Format.table else "")
        if number == count:
            return
