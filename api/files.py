"""Files, folders and standard input -> the bytes of each; what cannot be read becomes a Problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from api.errors import Problem
from api.yaml_reader import MAX_BYTES

MAX_FILES = 1000
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
STDIN_NAME = "stdin"


def contents(
    paths: Iterable[str | Path], stdin: BinaryIO | None, problems: list[Problem]
) -> Iterator[tuple[str, bytes]]:
    """(name, at most 1 MiB and a byte) of each file; what cannot be read becomes a problem."""
    for count, (name, path) in enumerate(_files(paths, problems)):
        if count >= MAX_FILES:
            problems.append(Problem(code="E107", message=f"more than {MAX_FILES} files", file=name))
            return
        try:
            if path is None:
                yield name, stdin.read(MAX_BYTES + 1) if stdin is not None else b""
            else:
                with path.open("rb") as file:
                    yield name, file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
            reason = getattr(error, "strerror", None) or str(error)
            problems.append(Problem(code="E108", message=f"cannot be read: {reason}", file=name))


def _files(paths: Iterable[str | Path], problems: list[Problem]) -> Iterator[tuple[str, Path | None]]:
    for path in paths:
        place = Path(path)
        if str(path) == STDIN:
            yield STDIN_NAME, None
        elif place.is_dir():
            try:
                inside = sorted(file for file in place.iterdir() if _holds_resources(file))
            except OSError as error:
                problems.append(Problem(code="E108", message=f"cannot be read: {error.strerror}", file=str(path)))
                continue
            if not inside:
                problems.append(Problem(code="E106", message="no YAML or JSON file in this folder", file=str(path)))
            yield from ((str(file), file) for file in inside)
        else:
            yield str(path), place


def _holds_resources(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()
