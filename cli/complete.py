"""What the shell may offer next; ``evoke __complete WORD...`` prints it, the last word being the unfinished one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from api.errors import EvokeError
from cli import kinds
from cli.app import NAMES, load

WAIT = 0.5
"""Seconds that a key press may wait for the platform."""

TAKES_FUNCTION = {"invoke", "logs", "scale", "rollback"}
TAKES_KIND = {"get", "describe", "delete"}


def candidates(words: Sequence[str]) -> list[str]:
    """Words that can stand where the last of *words* stands; never raises."""
    *before, typed = words or [""]
    if not before:
        return [name for name in NAMES if name.startswith(typed)]
    command = before[0]
    if command not in NAMES:
        return []
    given = [word for word in before[1:] if not word.startswith("-")]
    try:
        found = options(command, given) if typed.startswith("-") else names(command, given)
    except (EvokeError, OSError, ImportError):
        return []
    return sorted(word for word in found if word.startswith(typed))


def options(command: str, given: Sequence[str]) -> list[str]:
    """Long options of the command, or of its subcommand."""
    tree: Any = typer.main.get_command(load(command))
    inner = getattr(tree, "commands", {}).get(given[0] if given else "", tree)
    return [option for parameter in inner.params for option in parameter.opts if option.startswith("--")] + ["--help"]


def names(command: str, given: Sequence[str]) -> list[str]:
    """Subcommands, kinds, or the names of resources."""
    tree: Any = typer.main.get_command(load(command))
    if subcommands := getattr(tree, "commands", None):
        if command == "dead-letters" and len(given) == 1:
            return existing("trigger", "function")
        return list(subcommands) if not given else []
    if command in TAKES_KIND:
        return [kinds.plural(kind) for kind in kinds.ORDER] if not given else existing(kinds.canonical(given[0]))
    if command in TAKES_FUNCTION and not given:
        return existing("function")
    return ["bash", "zsh", "fish"] if command == "completion" else []


def existing(*wanted: str) -> list[str]:
    """Names of the resources of the *wanted* kinds on the local platform, when it answers at once."""
    from cli.target import Local, resolve
    from cli.transport import Ask, LocalTransport

    target = resolve(None)
    if not isinstance(target, Local):
        return []
    found: list[str] = []
    for kind in wanted:
        reply = LocalTransport(target.run).open(Ask("controller", "GET", f"/v1/resources/{kind}", timeout=WAIT))
        found += [item["metadata"]["name"] for item in reply.json().get("items", [])]
    return found
