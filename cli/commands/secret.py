"""``evoke secret``: values come from stdin or a file, never from the command line."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.errors import MissingFile, Usage
from cli.options import Session, command_line, new_app

app = new_app(group="Secrets of a namespace. Values are never shown, and stand in no argument, log or database.")

Name = Annotated[str, typer.Argument(help="The secret.")]


@command_line(
    app,
    "set",
    example="""
    evoke secret set broker password < password.txt
    evoke secret set broker ca.crt --from-file ca.crt
    """,
)
def set_(
    session: Session,
    name: Name,
    key: Annotated[str, typer.Argument(help="The key in it.")],
    file: Annotated[Path | None, typer.Option("--from-file", metavar="PATH", help="Read the value from here.")] = None,
) -> None:
    """Set one key of a secret; the value is read from stdin, without its last line end, or from a file as it is."""
    value = value_of(file)
    if not value:
        raise Usage("the value is empty", code="E164", hint=f"for example: evoke secret set {name} {key} < FILE")
    session.client.set_secret(name, key, value)
    session.out.done({"secret": name, "key": key}, f"secret/{name} {key} set")


def value_of(file: Path | None) -> str:
    try:
        if file is not None:
            return file.read_text(encoding="utf-8")
        if sys.stdin.isatty():
            return getpass.getpass("value: ")
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise Usage("the value is not UTF-8 text", code="E164", hint="encode it, for example with base64") from error
    except OSError as error:
        raise MissingFile(file or "stdin", error) from error
    return text.removesuffix("\n").removesuffix("\r")


@command_line(app, "list", example="evoke secret list")
def list_(session: Session) -> None:
    """List names and keys; values are never shown."""
    found = session.client.secrets()
    if not found and not session.out.structured:
        session.out.talk(f"no secrets in namespace {session.namespace}")
        return
    rows = [(one["name"], ", ".join(one.get("keys", []))) for one in found]
    session.out.show({"items": found}, output.table(["NAME", "KEYS"], rows))


@command_line(app, "delete", example="evoke secret delete broker password")
def delete(
    session: Session,
    name: Name,
    key: Annotated[str | None, typer.Argument(help="Only this key.")] = None,
) -> None:
    """Delete a secret, or one key of it."""
    session.client.delete_secret(name, key)
    said = f"secret/{name} {key} deleted" if key else f"secret/{name} deleted"
    session.out.done({"secret": name, "key": key}, said)
