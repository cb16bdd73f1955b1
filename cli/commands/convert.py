"""``evoke convert``: older API versions -> v1beta2."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api import documents, older
from api.errors import InvalidInput, Problem
from api.files import STDIN
from api.tree import text_of
from cli.documents import inside
from cli.errors import Failed
from cli.options import Session, command_line, new_app
from cli.output import near, one_line, to_yaml
from cli.wording import counted

app = new_app()


@command_line(app, example="evoke convert -f function-v1beta1.yaml > function.yaml")
def convert(
    session: Session,
    files: Annotated[list[Path], typer.Option("-f", "--filename", help="File, folder, or - for stdin.")],
) -> None:
    """Rewrite v1beta1 Functions as v1beta2, on stdout; other resources pass as they are, comments do not.

    What has no place in v1beta2 is named on stderr with its path. Exit code 1 only where nothing could be converted.
    """
    written: list[dict[str, Any]] = []
    done = failed = 0
    for node, problem_at in trees(files):
        resource = node.plain()
        if not older.is_older(resource):
            written.append(resource)
            continue
        found = older.convert(resource)
        for fault in found.lost:
            session.out.talk(f"{'warning' if found.resource else 'error'}: {one_line(problem_at(fault))}")
        if found.resource is None:
            failed += 1
            continue
        done += 1
        written.append(found.resource)
    if failed and not done:
        raise Failed("nothing could be converted", hint="see above")
    text = "\n---\n".join(to_yaml(resource) for resource in written)
    session.out.show({"items": written}, text)
    session.out.talk(f"converted {counted(done, 'function')}" + (f", {failed} not" if failed else ""))


def trees(files: Sequence[Path]) -> Iterator[tuple[Any, Any]]:
    """Each document with a function that places a fault in it. Raises InvalidInput where a file is not YAML."""
    stdin = sys.stdin.buffer if any(str(path) == STDIN for path in files) else None
    for file, node in documents.trees([file for path in files for file in inside(path)], stdin=stdin):
        if problems := list(_ambiguous(node, file)):
            raise InvalidInput(problems)

        def place(fault: Any, file: str = file, node: Any = node) -> Problem:
            line = node.line_of(fault.path)
            return Problem(code=fault.code, message=fault.message, path=text_of(fault.path), file=near(file), line=line)

        yield node, place


def _ambiguous(node: Any, file: str) -> Iterator[Problem]:
    """E111 for each scalar that YAML readers disagree about: written again it could become another value."""
    value = node.value
    if isinstance(value, dict):
        for _, inner in value.values():
            yield from _ambiguous(inner, file)
    elif isinstance(value, list):
        for inner in value:
            yield from _ambiguous(inner, file)
    elif isinstance(value, msgspec.Struct):
        yield Problem(
            code="E111",
            message=f"`{getattr(value, 'text', '')}` means different things to YAML readers: write it in quotes",
            file=file,
            line=node.line,
        )
