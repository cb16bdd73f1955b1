"""YAML named on the command line -> documents for `POST /v1/apply`; every defect of every file in one go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from api import documents, files
from cli import project
from cli.output import near, one_line

Document = dict[str, Any]
"""``resource``, ``file`` (absolute: code is looked for beside it), ``line``."""


def load(paths: Sequence[Path], *, namespace: str, talk: TextIO | None = None) -> list[Document]:
    """Read files, folders and ``-``; *talk* takes a line for all that an older API version loses.

    Raises InvalidInput with every problem.
    """
    stdin = sys.stdin.buffer if any(str(path) == files.STDIN for path in paths) else None
    named = [file for path in paths for file in inside(path)]
    found = documents.read(named, stdin=stdin, namespace=namespace)
    for note in (note for one in found for note in one.notes if talk is not None):
        print(f"warning: {one_line(msgspec.structs.replace(note, file=near(note.file)))}", file=talk)
    return [{"resource": one.resource, "file": place(one.file), "line": one.line} for one in found]


def inside(path: Path) -> list[Path]:
    """A folder's files that are meant for us, as `evoke up` takes them; the folder itself when there are none."""
    if str(path) == files.STDIN or not path.is_dir():
        return [path]
    return project.manifests(path) or [path]


def load_project(folder: Path, *, namespace: str, talk: TextIO | None = None) -> list[Document]:
    """The resources of a project folder; none when it holds no YAML of ours."""
    return load(project.manifests(folder), namespace=namespace, talk=talk)


def place(file: str) -> str:
    """Where the document's folder is, for the controller: stdin counts as a file here."""
    return os.path.abspath("stdin" if file == files.STDIN else file)  # noqa: PTH100 - keeps symlinks as they are
