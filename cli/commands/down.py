"""``evoke down``: stop the platform; data stays unless purged."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from api.platform import run_directory
from cli import start, target
from cli.commands.delete import confirm
from cli.errors import NoPlatform, NotYet
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(app, example="evoke down")
def down(
    session: Session,
    purge: Annotated[bool, typer.Option("--purge", help="Delete events, resources, secrets and logs too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the platform of this folder: deliveries finish, replicas drain, then the broker closes. Data stays."""
    if session.on and session.on != "local":
        raise NotYet(f"stopping {session.on}", hint="down stops local platforms")
    state = target.find_state()
    if state is None or not state.is_dir():
        raise NoPlatform(f"no {target.FOLDER} folder here or above", hint="nothing to stop")
    if purge and not yes:
        confirm(f"delete {state} with all events, resources, secrets and logs?")
    pid = start.holder(state)
    if pid is not None:
        start.stop(pid, state)
    if purge:
        shutil.rmtree(run_directory(state), ignore_errors=True)
        shutil.rmtree(state)
    elif pid is None:
        raise NoPlatform(f"the platform of {state} does not run", hint="nothing to stop")
    said = "stopped; everything deleted" if purge else "stopped; data stays"
    session.out.done({"stopped": pid is not None, "purged": purge, "state": str(state)}, said)
