"""``evoke version``"""

from __future__ import annotations

from cli import about
from cli.options import Session, command_line, new_app

app = new_app()


@command_line(app, example="evoke version -o json")
def version(session: Session) -> None:
    """Show the version of this tool and of the Python it runs on."""
    session.out.show({"version": about.version(), "python": about.PYTHON}, about.line())
