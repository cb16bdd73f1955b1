"""Which release this is; loads nothing else, so that `evoke version` is instant."""

from __future__ import annotations

import sys
from importlib import metadata

PYTHON = ".".join(map(str, sys.version_info[:3]))


def version() -> str:
    return metadata.version("evoke-functions")


def line() -> str:
    return f"evoke {version()} (Python {PYTHON})"
