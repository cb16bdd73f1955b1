"""``evoke use``: show or set where commands of this folder act."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import target
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(app, example="evoke use local")
def use(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="TARGET", help="local or kube:CONTEXT.")] = None,
) -> None:
    """Show where commands act, or set it for this folder and those below it (.evoke/target)."""
    state = target.find_state()
    if name is None:
        current = (target.read(state) if state else "") or "local"
        place = f" (state {state})" if state else " (no .evoke folder here yet: `evoke up` makes one)"
        session.out.show({"target": current, "state": state and str(state)}, f"{current}{place}")
        return
    target.parse(name)
    state = state or Path.cwd() / target.FOLDER
    target.write(state, name)
    session.out.done({"target": name, "state": str(state)}, f"commands here act on {name}")
    if name.startswith("kube:"):
        session.out.talk("note: Kubernetes targets come with the Kubernetes release; until then use --on local")
