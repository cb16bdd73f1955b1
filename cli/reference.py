"""docs/reference/cli.md, made from the commands themselves by scripts/generate.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from cli.app import COMMANDS, load

COMMON = frozenset({"-n", "--on", "-o", "-q", "--no-color", "-h"})

INTRODUCTION = """\
<!-- Made by `scripts/generate.py` from `cli/`; edit there. -->

# The evoke command

`evoke COMMAND --help` says the same. Every command takes `-n/--namespace NAME`, `--on local|kube:CONTEXT`,
`-o table|json|yaml`, `-q` (data only), `--no-color` and `--help`; they may stand before the command too. Data goes to
stdout, talk and errors to stderr. An error is one line: `error: CODE message; what to do next`; the codes are in
[errors](errors.md). With `-o json` or `yaml`, an error that comes before any data also stands on stdout, as
`{"error": {"code", "message", "hint", "exit", "problems": [{"code", "message", "path", "file", "line"}]}}`.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command line or the YAML does not hold; nothing was changed |
| 130 | Ctrl-C |
| 141 | whoever read the output went away |

Commands act on the platform of the nearest `.evoke` folder, here or above. `EVOKE_STATE` names another one (for
`evoke up --state DIR`), `NO_COLOR` turns colours off, `EVOKE_CACHE` says where environments are kept.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for group, names in COMMANDS.items():
        parts.append(f"## {group}\n")
        parts += ["\n".join(section(name)) for name in names]
    return "\n".join(parts)


def section(name: str) -> Iterator[str]:
    """One command, or a group with its subcommands."""
    tree: Any = typer.main.get_command(load(name))
    subcommands = getattr(tree, "commands", None)
    if subcommands is None:
        yield from command(f"evoke {name}", tree)
        return
    yield f"### evoke {name}\n\n{tree.help}\n"
    for inner, found in subcommands.items():
        yield from command(f"evoke {name} {inner}", found, level="####")


def command(title: str, found: Any, level: str = "###") -> Iterator[str]:
    """Heading, what it does, examples, its own arguments and options."""
    arguments = [one for one in found.params if one.param_type_name == "argument"]
    options = [one for one in found.params if one.param_type_name == "option" and not one.hidden]
    yield f"{level} {title}\n\n{found.help}\n"
    yield "```sh\n" + "\n".join(examples(found.epilog)) + "\n```\n"
    rows = [(f"`{named(one)}`", one.help) for one in arguments]
    rows += [(spelled(one), one.help) for one in options if not COMMON & set(one.opts)]
    if rows:
        yield "| | |\n|---|---|\n" + "\n".join(f"| {left} | {right} |" for left, right in rows) + "\n"


def named(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def examples(epilog: str | None) -> list[str]:
    return [line.removeprefix("example: ") for line in (epilog or "").split("\n\n") if line]


def spelled(option: Any) -> str:
    """``-d DATA, --data DATA``, as table cells want it."""
    choices = option.type_descriptor.choices or ()
    value = option.metavar or "|".join(map(str, choices)) or "VALUE"
    given = "" if option.is_flag else f" {value}"
    names = [*option.opts, *option.secondary_opts]
    return ", ".join(f"`{name}{given}`" for name in names).replace("|", "\\|")
