"""``evoke new``: a project that works as it is written."""

from __future__ import annotations

import keyword
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Failed, Usage
from cli.options import Session, command_line, new_app

app = new_app()

FILES = ("main.py", "function.yaml", "test_main.py")
TEMPLATES = Path(__file__).parent.parent / "templates"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


class Template(StrEnum):
    mqtt = "mqtt"
    http = "http"
    cloudevent = "cloudevent"
    batch = "batch"
    cron = "cron"


SUMMARIES = {
    Template.mqtt: "messages of MQTT topics, through the event bus",
    Template.http: "HTTP requests",
    Template.cloudevent: "events of a topic of the event bus, one at a time",
    Template.batch: "events of a topic of the event bus, many at a time",
    Template.cron: "runs by the clock",
}


@command_line(app, example="evoke new sensors -t mqtt")
def new(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Name of the project and its folder.")] = None,
    template: Annotated[Template, typer.Option("-t", "--template", help="What starts the function.")] = Template.http,
    list_: Annotated[bool, typer.Option("--list", help="List the templates and stop.")] = False,
) -> None:
    """Make a project: a handler, the YAML that says what triggers it, and a test. Never overwrites a file."""
    if list_:
        templates = [{"name": str(one), "for": text} for one, text in SUMMARIES.items()]
        session.out.show(templates, [f"{one:<11} {text}" for one, text in SUMMARIES.items()])
        return
    if name is None:
        raise Usage("new needs a NAME", hint="for example: evoke new sensors -t mqtt")
    if not NAME.fullmatch(name):
        raise Usage(
            f"'{name}' cannot be a name: lower-case letters, digits and '-', at most 63, starting with a letter",
            code="E112",
        )
    folder = Path(name)
    made = create(folder, name, template)
    session.out.done(
        {"folder": str(folder), "created": list(made), "next": "evoke up"},
        f"created {' '.join(made)}        next: evoke up",
    )


def create(folder: Path, name: str, template: Template) -> tuple[str, ...]:
    """Write the project's files into *folder*; none when one of them is there already."""
    if existing := [file for file in FILES if (folder / file).exists()]:
        raise Failed(f"{folder}/{existing[0]} is there already", code="E168", hint="choose another name, or remove it")
    handler = name.replace("-", "_")
    words = {
        "@NAME@": name,
        "@EVENT@": name,
        "@HANDLER@": f"{handler}_" if keyword.iskeyword(handler) or handler == "main" else handler,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        text = (TEMPLATES / template / f"{file}.txt").read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        (folder / file).write_text(text, encoding="utf-8")
    return FILES
