"""``evoke build``: a folder becomes a bundle and its environment; the digest on stdout."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from builder import bundle, requirements
from cli.errors import MissingFile, NotYet
from cli.options import Session, command_line, new_app
from cli.waiting import Progress
from controller.local.environments import Environments

app = new_app()

LATER = "images come with the image builder; without it this builds the bundle that local platforms run"


@command_line(app, example="evoke build samples/fleet/notify")
def build(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the function's code.")] = Path(),
    image: Annotated[str, typer.Option("--image", metavar="oci:DIR|REF", help="Write an image.")] = "",
    push: Annotated[bool, typer.Option("--push", help="Push it.")] = False,
    lock: Annotated[bool, typer.Option("--lock", help="Write the lock file.")] = False,
    platform: Annotated[str, typer.Option("--platform", help="Such as linux/arm64.")] = "",
) -> None:
    """Build a function's code as local platforms do: its bundle, and the environment of its requirements."""
    for option, given in (("--image", image), ("--push", push), ("--lock", lock), ("--platform", platform)):
        if given:
            raise NotYet(option, hint=LATER)
    if not folder.is_dir():
        raise MissingFile(folder)
    progress = Progress(session.out)
    progress.say("building the environment...")
    tree = bundle.Scanner().scan(folder)
    wanted = requirements.read(folder)
    environment = asyncio.run(Environments().ensure(wanted))
    progress.clear()
    session.out.talk(f"{len(tree.entries)} files, {tree.size} bytes; environment {environment.path}")
    facts = {"code": tree.digest, "size": tree.size, "runtime": environment.digest, "requirements": list(wanted)}
    session.out.show(facts, tree.digest)
