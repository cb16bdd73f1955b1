"""``evoke deploy``: apply a project and wait until all of it is ready; on this machine nothing is pushed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli import documents, project
from cli.commands.apply import names, report, wait_ready
from cli.errors import Failed, MissingFile, NotYet
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(app, example="evoke deploy samples/fleet")
def deploy(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project.")] = Path(),
    push: Annotated[str, typer.Option("--push", metavar="REF", help="Push images here first.")] = "",
    traffic: Annotated[int | None, typer.Option("--traffic", min=0, max=100, help="Share of the new revision.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until everything is ready.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="For --wait.")] = 300,
) -> None:
    """Build and apply a project, remove what it no longer has, and wait until everything is ready."""
    if push:
        raise NotYet("--push", hint="images and registries come with the image builder; locally leave it out")
    if traffic is not None:
        raise NotYet("--traffic", hint="write serving.traffic into the YAML")
    if not folder.is_dir():
        raise MissingFile(folder)
    found = documents.load_project(folder, namespace=session.namespace)
    if not found:
        raise Failed(f"no resources in {folder}", code="E106", hint="make a project with `evoke new`")
    results = session.client.apply(found, project=project.label(folder), prune=True)
    report(session, results)
    if wait:
        wait_ready(session, names(results), timedelta(seconds=timeout))
