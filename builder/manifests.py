"""Which files of a source folder declare the platform's resources: they say how code is run and are no part of it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from api.kinds import KINDS

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
LOOKED_AT = 1 << 20
"""Bytes of a file that are searched for a declaration."""

_GROUPS = "|".join(sorted({re.escape(info.group) for info in KINDS.values() if info.own}))
_DECLARES = re.compile(
    rf"""^(?:{{.*?|[ \t]+(?=")|)["']?apiVersion["']?\s*:\s*["']?(?:{_GROUPS})/""".encode(), re.MULTILINE
)
"""A key at the left edge, or one of a JSON object."""


def may_declare(path: str) -> bool:
    """Whether *path*, relative to its source folder, is one that `apply` of the folder reads."""
    return "/" not in path and PurePosixPath(path).suffix in SUFFIXES


def declares(file: Path) -> bool:
    """Whether *file* declares a resource of ours; text broken for the moment counts too."""
    with file.open("rb") as content:
        return _DECLARES.search(content.read(LOOKED_AT)) is not None
