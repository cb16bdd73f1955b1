"""``evoke logs``: one stream over all replicas of a function."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import Session, command_line, new_app
from cli.output import Output, one_line
from cli.wording import moment

app = new_app()

SEVERE = {"WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad"}


@command_line(app, example="evoke logs on-reading -f --since 10m")
def logs(  # noqa: PLR0913, PLR0917 - one parameter per option
    session: Session,
    name: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Such as 10m, or a time.")] = "",
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="The last so many lines only.")] = None,
    revision: Annotated[str, typer.Option("--revision", help="Of this revision only, such as 00002.")] = "",
    call: Annotated[str, typer.Option("--call", metavar="ID", help="Of this call only.")] = "",
    build: Annotated[bool, typer.Option("--build", help="Of the latest build instead.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="Of the replicas that are gone.")] = False,
) -> None:
    """Show a function's logs over all its replicas, in time order."""
    lines = session.client.logs(
        name, follow=follow, since=since, tail=tail, revision=revision, call=call, build=build, previous=previous
    )
    found = False
    for entry in lines:
        found = True
        session.out.item(entry, line(entry, session.out))
    if not found and not follow:
        session.out.talk(f"no such log lines of function/{name}")


def line(entry: dict[str, Any], out: Output) -> str:
    """``12:30:01.123  kitchen is hot: 31``, local time; severity where it is one, attempts above the first."""
    at = moment(entry.get("time"))
    clock = at.astimezone().strftime("%H:%M:%S.%f")[:12] if at else "-"
    severity = str(entry.get("severity") or "INFO").upper()
    marked = f"{severity} " if severity in SEVERE else ""
    again = f"  (attempt {entry['attempt']})" if int(entry.get("attempt") or 1) > 1 else ""
    first, *rest = str(entry.get("message", "")).splitlines() or [""]
    text = "\n".join([f"{marked}{one_line(first) if first else ''}{again}", *(one_line(more) for more in rest)])
    return f"{out.paint(clock, 'dim')}  {out.paint(text, SEVERE[severity]) if marked else text}"
