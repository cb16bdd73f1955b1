"""A folder of YAML and code as `evoke up` and `evoke deploy` see it: its label, its documents, what a save changes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

LABEL = "evoke.dev/project"
IGNORED = frozenset({".git", ".evoke", ".venv", "venv", "node_modules", "__pycache__", "tests"})
YAML = frozenset({".yaml", ".yml", ".json"})
CODE = frozenset({".py", ".txt", ".toml", ".lock", ".cfg"})
MOST = 5000
"""Files that are looked at; more would make a look take longer than the pause between two."""

Stamps = Mapping[Path, tuple[int, int]]


class Change(msgspec.Struct, frozen=True):
    """What differs between two looks."""

    files: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.files)


def label(folder: Path) -> str:
    """Value of ``evoke.dev/project`` for *folder*: readable, and another one for every folder."""
    folder = folder.absolute()
    name = re.sub(r"[^a-z0-9-]+", "-", folder.name.lower()).strip("-")[:40]
    mark = hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{name}-{mark}".lstrip("-")


def manifests(folder: Path) -> list[Path]:
    """YAML files of a project: those of the folder itself that hold resources; sub-folders are code."""
    return [path for path in files(folder) if path.parent == folder and path.suffix in YAML and holds_resources(path)]


def holds_resources(path: Path) -> bool:
    """Whether a file is meant for us: other tools keep YAML in the same folders."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return b"apiVersion" in content or path.name in {"function.yaml", "evoke.yaml"}


def files(folder: Path) -> Iterator[Path]:
    """Files of the project that a save may change, tests and tools' folders left out."""
    found = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in IGNORED and not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix in YAML | CODE and not is_test(name) and not name.startswith("."):
                found += 1
                if found > MOST:
                    return
                yield path


def is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def stamps(folder: Path) -> Stamps:
    """Modification time in ns and size of every watched file; what this process writes itself is none of them."""
    own = outputs()
    found = {}
    for path in files(folder):
        try:
            state = path.stat()
        except OSError:
            continue  # renamed over at this moment: the next look sees it
        if (state.st_dev, state.st_ino) in own:
            continue
        found[path] = (state.st_mtime_ns, state.st_size)
    return found


def outputs() -> frozenset[tuple[int, int]]:
    """Device and inode of the files behind stdout and stderr: `evoke up > up.log` would see its own words as a save."""
    found = set()
    for descriptor in (1, 2):
        try:
            state = os.fstat(descriptor)
        except OSError:
            continue  # closed
        if stat.S_ISREG(state.st_mode):
            found.add((state.st_dev, state.st_ino))
    return frozenset(found)


def output_inside(folder: Path) -> str:
    """The file in *folder* that this process writes to and that belongs to the functions' code; empty: none.

    Known where ``/dev/fd`` leads to files, as on Linux.
    """
    root = folder.resolve()
    own = outputs()
    for descriptor in (1, 2):
        path = Path(f"/dev/fd/{descriptor}").resolve()
        if not own or not path.is_relative_to(root) or not path.is_file():
            continue
        inside = path.relative_to(root)
        if not any(part.startswith(".") or part in IGNORED for part in inside.parts):
            return str(inside)
    return ""


def change(before: Stamps, after: Stamps) -> Change:
    """Files that came, went, or are not what they were."""
    return Change(tuple(sorted(path for path in {*before, *after} if before.get(path) != after.get(path))))
