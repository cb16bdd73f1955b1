"""What commands print: tables or JSON or YAML on stdout, talk on stderr, errors on one line with an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TextIO

import msgspec

from api.errors import EvokeError, InvalidInput
from cli.errors import Usage, did_you_mean

STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


class Format(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"


class Output:
    """One command's way to speak."""

    def __init__(self, *, form: Format = Format.table, quiet: bool = False, color: bool = True) -> None:
        self.form, self.quiet = form, quiet
        self.color = color and colorful(sys.stdout)

    @property
    def structured(self) -> bool:
        return self.form is not Format.table

    def show(self, value: Any, text: str | Iterable[str]) -> None:
        """Print *value* as JSON or YAML when asked for, else *text*."""
        if self.form is Format.table:
            write(text if isinstance(text, str) else "\n".join(text))
        elif self.form is Format.json:
            write(to_json(value, indent=True))
        else:
            write(to_yaml(value))

    def done(self, value: Any, text: str | Iterable[str]) -> None:
        """Print the outcome of a change; ``-q`` hides the words, never the JSON that was asked for."""
        if self.structured or not self.quiet:
            self.show(value, text)

    def item(self, value: Any, text: str) -> None:
        """Print one item of an endless list, at once: a line, a line of JSON, a YAML document."""
        if self.form is Format.table:
            write(text)
        elif self.form is Format.json:
            write(to_json(value))
        else:
            write("---\n" + to_yaml(value))
        sys.stdout.flush()

    def talk(self, text: str) -> None:
        """Say something that is not the data."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.color else text


def colorful(stream: TextIO) -> bool:
    """Colour only for a person: a terminal, no NO_COLOR, not a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Spoken:
    """Whether this command has written data: an error then stays on stderr, so that stdout holds one document."""

    data = False


def write(text: str) -> None:
    if text:
        Spoken.data = True
        sys.stdout.write(text + "\n")


def asked(words: Sequence[str]) -> Format:
    """The form that a command line asks for, read even where the rest of it does not hold."""
    for index, word in enumerate(words):
        name, given, value = word.partition("=")
        if name in {"-o", "--output"}:
            value = value if given else next(iter(words[index + 1 :]), "")
        elif not word.startswith("--") and word.startswith("-o"):
            value = word[2:]
        else:
            continue
        if value in {Format.json, Format.yaml}:
            return Format(value)
    return Format.table


def to_json(value: Any, *, indent: bool = False) -> str:
    """JSON of *value*; plain ASCII where stdout could not carry more, so that it stays JSON."""
    import json

    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return json.dumps(value, indent=2 if indent else None, ensure_ascii=encoding != "utf8", default=str)


def to_yaml(value: Any, *, ordered: bool = False) -> str:
    """YAML of *value*; *ordered*: keys by the alphabet, for comparing."""
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=ordered, allow_unicode=True, width=120)
    return text.rstrip("\n")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines with columns padded to their widest cell, two spaces between; a missing value is ``-``."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *cells]]
    return [line.rstrip() for line in lines]


def one_line(value: object) -> str:
    """*value* as text that keeps its line and moves no cursor; nothing is ``-``."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(c if c.isprintable() else " " if c.isspace() else f"\\x{ord(c):02x}" for c in text)


def labels(mapping: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(mapping.items()))


def fail(error: Exception, form: Format = Format.table) -> int:
    """Print *error* on stderr, one line per defect, and as an object on stdout where *form* asks for one and nothing
    stands there yet; answers the exit code.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    lines = error_lines(error)
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()
    code = 2 if isinstance(error, InvalidInput | Usage) or getattr(error, "exit_code", 1) == 2 else 1
    if form is not Format.table and not Spoken.data:
        value = {"error": error_value(error, lines, code)}
        write(to_json(value, indent=True) if form is Format.json else to_yaml(value))
    return code


def error_value(error: Exception, lines: Sequence[str], exit_code: int) -> dict[str, Any]:
    """``{"code", "message", "hint", "exit", "problems": [{"code", "message", "path", "file", "line"}]}``"""
    found = error.problems if isinstance(error, InvalidInput) else ()
    problems = [{**msgspec.to_builtins(one), "file": near(one.file)} for one in found]
    code, _, rest = lines[0].partition(" ")
    if problems:
        code, message, hint = problems[0]["code"], lines[0], ""
    elif isinstance(error, EvokeError):
        code, message, hint = error.code, error.message, error.hint
    else:
        message, _, hint = rest.partition("; ")
    return {"code": code, "message": message, "hint": hint, "exit": exit_code, "problems": problems}


def error_lines(error: Exception) -> list[str]:
    """What a person reads about *error*."""
    if isinstance(error, InvalidInput):
        return [one_line(msgspec.structs.replace(problem, file=near(problem.file))) for problem in error.problems]
    if isinstance(error, EvokeError):
        return [one_line(error)]
    if hasattr(error, "format_message"):
        return [_usage_line(error)]
    if type(error).__name__ == "Abort":
        return ["aborted"]
    if os.environ.get("EVOKE_DEBUG"):
        raise error
    return [one_line(f"E198 {type(error).__name__}: {error}; please report it: EVOKE_DEBUG=1 shows where")]


def near(file: str) -> str:
    """*file* as seen from here, where that is shorter."""
    here = os.path.relpath(file) if file.startswith("/") else file
    return file if here.startswith("..") else here


def _usage_line(error: Any) -> str:
    """One line from the parser's exception, with the nearest option where one was mistyped."""
    message = " ".join(str(error.format_message()).split()).rstrip(".").replace("Value error, ", "")
    near: Sequence[str] = getattr(error, "possibilities", None) or ()
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context else "see --help"
    if near:
        message = " ".join(str(error.message).split())
    if typed := getattr(error, "option_name", None):
        known = [option for parameter in context.command.params for option in parameter.opts] if context else near
        hint = did_you_mean(str(typed), known, otherwise=hint)
    message, said, nearest = message.partition(". Did you mean ")
    if said:
        hint = f"did you mean {nearest}"
    return one_line(f"E162 {message[:1].lower()}{message[1:]}; {hint}")
