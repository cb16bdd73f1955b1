"""``requirements.txt`` read strictly: plain requirements only, nothing that reaches around the index or the folder.

Refused with E181: every option (``-r``, ``-e``, ``--index-url``...). Refused with E182: URLs, paths, version control
links, and a line for a functions framework, because ours owns that import name and is always there.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from api.errors import InvalidInput, Problem

FILE = "requirements.txt"
_OPTION = re.compile(r"^-{1,2}[A-Za-z]")
_HASHES = re.compile(r"\s+--hash[= ]\S+")
_NAME = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[A-Za-z0-9._,\s-]*\])?\s*(.*)$")
_VERSION = re.compile(r"^\(?\s*(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*,?\s*)+\)?$")
FRAMEWORKS = frozenset({"functions-framework", "evoke-functions"})


def read(folder: Path, *, shown: Path | None = None, framework: bool = True) -> tuple[str, ...]:
    """Requirements of a source folder, normalised and sorted; empty without the file.

    Raises InvalidInput with all problems, which name the file in folder *shown* (default: *folder* itself). Without
    *framework* they are a program's own, and may name any.
    """
    path, file = folder / FILE, str((shown or folder) / FILE)
    if not path.is_file():
        return ()
    try:
        return parse(path.read_text(encoding="utf-8-sig"), file=file, framework=framework)
    except UnicodeDecodeError:
        raise InvalidInput([Problem(code="E182", file=file, message="is not UTF-8 text; save it as UTF-8")]) from None


def parse(text: str, *, file: str = FILE, framework: bool = True) -> tuple[str, ...]:
    """Read the text of a requirements file; reports every defect with its line."""
    lines, problems = [], []
    for number, line in _logical(text):
        if not line:
            continue
        code, message = _defect(line, framework=framework)
        if message:
            problems.append(Problem(code=code, file=file, line=number, message=message))
        else:
            lines.append(_normal(line))
    if problems:
        raise InvalidInput(problems)
    return tuple(sorted(set(lines)))


def lock_digest(requirements: tuple[str, ...], *parts: str) -> str:
    """``sha256:<hex>`` of the requirements and of whatever else makes an environment."""
    text = "\n".join([*parts, "--", *requirements])
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _logical(text: str) -> list[tuple[int, str]]:
    """Lines with continuations joined and comments cut, each with the number of its first line."""
    found: list[tuple[int, str]] = []
    start, held = 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        if raw.endswith("\\"):
            held += raw[:-1] + " "
            continue
        found.append((start, re.sub(r"(^|\s)#.*$", "", held + raw).strip()))
        start, held = 0, ""
    return [*found, (start, held.strip())] if held else found


def _defect(line: str, *, framework: bool) -> tuple[str, str]:
    if _OPTION.match(line):
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        return "E181", f"option {option} is refused; write one requirement per line, such as `requests>=2.32`"
    bare, _, marker = _HASHES.sub("", line).partition(";")
    match = _NAME.match(bare.strip())
    if match is None or "://" in bare or "@" in bare or "/" in bare:
        return "E182", f"`{line}` is a URL or path; only names and versions of an index are taken, or is not readable"
    name, _, version = match.groups()
    if framework and re.sub(r"[-_.]+", "-", name).lower() in FRAMEWORKS:
        return "E182", f"remove `{name}`: the platform brings its own functions_framework, with the same API"
    if version and not _VERSION.match(version):
        return "E182", f"`{version}` is not a version; write it as `{name}>=1.0`"
    if " --" in line.replace(" --hash", ""):
        return "E181", "an option behind a requirement is refused; only --hash may stand there"
    return ("", "") if "--" not in marker else ("E181", "an option behind a marker is refused")


def _normal(line: str) -> str:
    return re.sub(r"\s+", " ", line)
