"""The watcher of `evoke up -d`: applies the folder's YAML when it is saved, and writes what happens to logs/up.log.

A process of its own that loads little, and ends with the platform.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cli import start
from cli.follow import Applied, Happenings, follow
from cli.narrate import Narrator
from cli.output import Output


def main() -> None:
    """Watch until nobody holds the state any more."""
    parser = argparse.ArgumentParser(prog="evoke up")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--no-prune", dest="prune", action="store_false")
    given = parser.parse_args()
    os.chdir(given.folder)  # messages name files as seen from the project
    client = start.client(given.state, given.namespace)
    follow(
        Output(color=False),
        Narrator(),
        Happenings(client),
        folder=Path(),
        applied=Applied(Path(), client, prune=given.prune),
        running=lambda: start.holder(given.state) is not None,
    )


if __name__ == "__main__":
    main()
