"""The ``evoke`` command: finds the command by name, loads only that one, and turns its end into an exit code.

0 done · 1 failed · 2 usage or invalid input · 130 Ctrl-C · 141 the reader of our output went away.
Data goes to stdout, talk and errors to stderr, every error on one line. With -o json or yaml an error that comes
before any data also stands on stdout, as one object; output.error_value() has its shape.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

COMMANDS: dict[str, dict[str, str]] = {
    "Start": {
        "new": "make a project: a handler, its YAML and a test",
        "up": "start the platform here, apply the folder, reload on save, show logs",
        "down": "stop it; data stays unless purged",
        "run": "run one handler in this terminal: no YAML, no bus",
    },
    "Resources": {
        "apply": "create or change resources from YAML",
        "get": "list resources",
        "describe": "conditions, revisions, scaling and dead letters of one resource",
        "delete": "delete resources",
    },
    "Work": {
        "invoke": "send a request to a function",
        "publish": "publish events to a bus or through an event source",
        "tail": "show events of a subject as they come",
        "logs": "show a function's logs over all its replicas",
        "scale": "set bounds, pause, resume or wake a function",
        "dead-letters": "list, show, replay or purge events that were given up on",
        "top": "replicas, in-flight, lag and rates of all functions",
    },
    "Ship": {
        "build": "build a project's functions",
        "deploy": "apply a project and wait until it is ready",
        "rollback": "bring an earlier revision's content back as a new revision",
        "secret": "set, list or delete secrets",
        "dapr": "run apps as Dapr's own command does",
    },
    "Setup": {
        "use": "show or set where commands act",
        "convert": "rewrite v1beta1 Functions for this release",
        "doctor": "check this machine and the platform",
        "version": "show the version",
        "completion": "print the completion script of a shell",
    },
}
NAMES = tuple(name for group in COMMANDS.values() for name in group)

LEADING = {"-n": 1, "--namespace": 1, "--on": 1, "-o": 1, "--output": 1, "-q": 0, "--quiet": 0, "--no-color": 0}
"""Common options that may also stand before the command, and how many words each takes."""

SYNONYMS = {
    "init": "new",
    "create": "apply",
    "start": "up",
    "serve": "run",
    "stop": "down",
    "list": "get",
    "ls": "get",
    "ps": "top",
    "rm": "delete",
    "call": "invoke",
    "send": "publish",
    "subscribe": "tail",
    "dlq": "dead-letters",
    "status": "describe",
    "context": "use",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and answer its exit code; never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    _keep_writable()
    try:
        code = dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the interpreter flushes stdout once more at exit: give it a place that takes it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def dispatch(words: list[str]) -> int:
    """Run *words*; errors are printed and answered as exit codes."""
    leading, words = split_leading(words)
    if not words or words[0] in {"-h", "--help", "help"}:
        if len(words) > 1 and words[0] == "help":
            return dispatch([*words[1:], "--help"])
        from cli.output import write

        (write if words else _usage)(overview())
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name == "--version":
        name = "version"
    return run(name, leading, rest)


def split_leading(words: list[str]) -> tuple[list[str], list[str]]:
    """Common options before the command, and the rest."""
    leading: list[str] = []
    while words and words[0].split("=")[0] in LEADING:
        takes = LEADING[words[0].split("=")[0]] if "=" not in words[0] else 0
        leading, words = [*leading, *words[: 1 + takes]], words[1 + takes :]
    return leading, words


def run(name: str, leading: list[str], rest: list[str]) -> int:
    from cli import output

    output.Spoken.data = False
    try:
        if name == "__complete":
            from cli.complete import candidates

            output.write("\n".join(candidates(rest)))
            return 0
        return execute(name, leading, rest)
    except Exception as error:  # noqa: BLE001, RUF100 - the one place where an error becomes a line and an exit code
        return output.fail(error, output.asked([*leading, *rest]))


def execute(name: str, leading: list[str], rest: list[str]) -> int:
    """Load the command and run it; answers its exit code."""
    if name == "version" and not rest and not leading:
        from cli.about import line
        from cli.output import write

        write(line())
        return 0
    if name not in NAMES:
        from cli.errors import Usage, did_you_mean

        hint = did_you_mean(name, [*NAMES], otherwise="see `evoke --help`")
        if name in SYNONYMS:
            hint = f"did you mean '{SYNONYMS[name]}'?"
        kind = "option" if name.startswith("-") else "command"
        raise Usage(f"no {kind} named '{name}'", code="E161", hint=hint)
    import typer

    app = load(name)
    if leading:
        at = 1 if app.registered_callback and rest and not rest[0].startswith("-") else 0
        rest = [*rest[:at], *leading, *rest[at:]]
    try:
        code: Any = typer.main.get_command(app).main(rest, prog_name=f"evoke {name}", standalone_mode=False)
    except typer.Exit as end:
        code = end.exit_code
    except SystemExit as end:
        # typer makes exit code 1 of a reader that went away; main() has a code of its own for it
        if isinstance(end.__context__, BrokenPipeError):
            raise BrokenPipeError from end
        raise
    return code if isinstance(code, int) else 0


def load(name: str) -> typer.Typer:
    """Import the module of one command; it offers ``app``."""
    import importlib

    app: typer.Typer = importlib.import_module(f"cli.commands.{name.replace('-', '_')}").app
    return app


def overview() -> str:
    """Text of ``evoke --help``; needs no command's module."""
    lines = ["Evoke runs event-driven functions.", "", "usage: evoke COMMAND [OPTIONS]", ""]
    for group, commands in COMMANDS.items():
        lines += [f"{group}:", *(f"  {name:<13} {summary}" for name, summary in commands.items()), ""]
    lines += [
        "Everywhere: -n/--namespace NAME, --on local|kube:CONTEXT, -o table|json|yaml, -q, --no-color, --help",
        "",
        "example: evoke new sensors -t mqtt && cd sensors && evoke up",
    ]
    return "\n".join(lines)


def _usage(text: str) -> None:
    sys.stderr.write(text + "\n")


def _keep_writable() -> None:
    """No character may break an output: names come from files, arguments and events of any encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=False)


if __name__ == "__main__":
    sys.exit(main())
