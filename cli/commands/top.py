"""``evoke top``: what all functions do now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli import output
from cli.options import Session, command_line, new_app

app = new_app()

PERIOD = 1.0

COLUMNS = (
    ("FUNCTION", ("function", "name")),
    ("REPLICAS", ("replicas",)),
    ("IN-FLIGHT", ("in_flight", "inFlight")),
    ("LAG", ("lag",)),
    ("RATE/S", ("rate",)),
    ("P50 MS", ("p50_ms", "p50")),
    ("P99 MS", ("p99_ms", "p99")),
    ("DEAD", ("dead", "deadLetters")),
)
"""Title, and the names under which the platform may say it."""


@command_line(app, example="evoke top -w")
def top(
    session: Session,
    everywhere: Annotated[bool, typer.Option("-A", "--all-namespaces", help="In every namespace.")] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Show it anew every second.")] = False,
) -> None:
    """Show replicas, work in flight, waiting work and rates of all functions."""
    while True:
        rows = session.client.top()
        if not everywhere:
            rows = [row for row in rows if row.get("namespace", session.namespace) == session.namespace]
        if session.out.color and watch:
            output.write("\x1b[H\x1b[2J")
        if watch:
            session.out.item({"items": rows}, "\n".join(lines(rows, everywhere=everywhere)))
            time.sleep(PERIOD)
        else:
            session.out.show({"items": rows}, lines(rows, everywhere=everywhere))
            return


def lines(rows: list[dict[str, Any]], *, everywhere: bool) -> list[str]:
    columns = [("NAMESPACE", ("namespace",)), *COLUMNS] if everywhere else list(COLUMNS)
    return output.table([title for title, _ in columns], [[cell(row, names) for _, names in columns] for row in rows])


def cell(row: Mapping[str, Any], names: tuple[str, ...]) -> object:
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if isinstance(value, float):
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return value
