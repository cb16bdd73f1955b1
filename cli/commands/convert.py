"""``evoke convert``: older API versions -> v1beta2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import NotYet
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(app, example="evoke convert -f function-v1beta1.yaml")
def convert(
    session: Session,
    files: Annotated[list[Path], typer.Option("-f", "--filename", help="File, folder, or - for stdin.")],
) -> None:
    """Rewrite v1alpha and v1beta1 YAML as v1beta2, on stdout."""
    names = ", ".join(map(str, files))
    raise NotYet(f"converting {names} on {session.on or 'local'}", hint="write it as core.openfunction.io/v1beta2")
