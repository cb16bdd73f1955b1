"""``evoke scale``: bounds, never a bare replica number."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import Usage
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(
    app,
    example="""
    evoke scale on-reading --min 1 --max 20
    evoke scale on-reading --pause 3
    """,
)
def scale(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function.")],
    least: Annotated[int | None, typer.Option("--min", min=0, help="Never fewer replicas.")] = None,
    most: Annotated[int | None, typer.Option("--max", min=0, help="Never more replicas.")] = None,
    pause: Annotated[
        str | None, typer.Option("--pause", metavar="N|now", help="Hold this many; `now`: as many as there are.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Scale on the load again.")] = False,
    wake: Annotated[bool, typer.Option("--wake", help="Start one replica now.")] = False,
) -> None:
    """Set the bounds between which the load decides; pause and resume that; start a replica ahead of work."""
    if least is None and most is None and pause is None and not resume and not wake:
        raise Usage("nothing to do", hint="give --min, --max, --pause, --resume or --wake")
    if least is not None and most is not None and least > most:
        raise Usage(f"--min {least} is more than --max {most}", code="E113")
    if pause is not None and resume:
        raise Usage("--pause and --resume exclude each other")
    answer = session.client.scale(
        name, min=least, max=most, pause=held(pause), resume=resume or None, wake=wake or None
    )
    said = []
    if least is not None or most is not None:
        said.append(f"scales {answer.get('min', least or 0)}..{answer.get('max', most)}")
    if pause is not None:
        said.append("paused" if pause == "now" else f"paused at {pause}")
    said += ["resumed"] if resume else []
    said += ["woken"] if wake else []
    session.out.done(answer, f"function/{name} {', '.join(said)}")


def held(pause: str | None) -> int | bool | None:
    """Read --pause: a count, True for as many as there are."""
    if pause is None or pause == "now":
        return None if pause is None else True
    if not pause.isdecimal():
        raise Usage(f"--pause takes a number or `now`, not '{pause}'")
    return int(pause)
