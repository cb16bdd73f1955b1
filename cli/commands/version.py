"""``evoke version``"""

from __future__ import annotations

import sys
from importlib import metadata

from cli.options import Session, command_line, new_app

app = new_app()


def version() -> str:
    return metadata.version("evoke-functions")


def line() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"evoke {version()} (Python {python})"


@command_line(app, example="evoke version -o json")
def show(session: Session) -> None:
    """Show the version of this tool and of the Python it runs on."""
    session.out.show({"version": version(), "python": ".".join(map(str, sys.version_info[:3]))}, line())
