"""Command lines as people write them for Dapr's own command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_SWITCHES = ("--enable-app-health-check", "--enable-api-logging", "--enable-profiling")


class Flags(TyperGroup):
    """Takes ``--switch=true`` too, as commands written in Go do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given: list[str] = []
        for word in args:
            name, equals, value = word.partition("=")
            if equals and name in _SWITCHES and "--" not in given and value in {"true", "false"}:
                given += [name] if value == "true" else []
            else:
                given.append(word)
        return super().parse_args(ctx, given)
