"""``evoke run``: one handler in this terminal; no YAML, no bus. The terminal stays the handler's: pdb works."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from api.platform import LOOPBACK, free, spare
from builder import requirements
from cli import payload, project
from cli.commands.publish import event as event_of
from cli.errors import Failed, MissingFile
from cli.options import Session, command_line, new_app
from cli.output import to_json
from cli.waiting import Progress
from controller.local.environments import Environments
from controller.local.processes import die_with_parent

app = new_app()

PORT = 8080
PACE = 0.2
START = 60.0
"""Seconds that the handler's imports may take."""


@command_line(
    app,
    example="""
    evoke run main.py
    evoke run main.py:on_reading --event event.json
    """,
)
def run(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="The file, and the handler if it has several.")],
    event: Annotated[
        str, typer.Option("--event", metavar="FILE|-", help="Hand it this event or data, then stop.")
    ] = "",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port [8080, else any free one].")
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again after each save.")] = False,
) -> None:
    """Run one handler here, over HTTP, in the same environment that the platform would give it."""
    name, _, target = file.rpartition(":") if ":" in file else (file, "", "")
    source = Path(name)
    if not source.is_file():
        raise MissingFile(source)
    body = payload.read(event if event == "-" else f"@{event}") if event else None
    number = port or (PORT if free(PORT) and body is None else spare())
    words = [environment(session, source.parent), "-m", "functions_framework.command"]
    words += ["--source", str(source), "--host", LOOPBACK, "--port", str(number)]
    words += ["--target", target] if target else []
    if body is not None:
        raise typer.Exit(once(session, words, number, body))
    session.out.talk(f"http://{LOOPBACK}:{number}/ runs {file}; Ctrl-C stops")
    if reload:
        repeat(session, words, source.parent)
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606 - the handler becomes this process: terminal, signals and exit code are its


def environment(session: Session, folder: Path) -> str:
    """Python of the environment that the folder's requirements ask for; made on first use."""
    progress = Progress(session.out)
    progress.say("making the environment (once per requirements)...")
    found = asyncio.run(Environments().ensure(requirements.read(folder)))
    progress.clear()
    return str(found.python)


def begin(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, preexec_fn=die_with_parent)  # noqa: S603, PLW1509 - ours; no thread of ours runs


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()


def once(session: Session, words: list[str], port: int, body: bytes) -> int:
    """Start the handler, hand it one event, print its reply, stop it; answers the exit code."""
    process = begin(words)
    try:
        wait_ready(process, port)
        message = to_json(event_of(body, "io.evoke.run", "", "run")).encode()
        connection = http.client.HTTPConnection(LOOPBACK, port)
        started = time.monotonic()
        connection.request("POST", "/", message, {"content-type": "application/cloudevents+json"})
        reply = connection.getresponse()
        said = reply.read()
        took = (time.monotonic() - started) * 1000
    finally:
        end(process)
    if said.strip():
        sys.stdout.buffer.write(said.rstrip(b"\n") + b"\n")
        sys.stdout.flush()
    session.out.talk(f"{reply.status} {reply.reason} in {took:.0f} ms")
    return 0 if reply.status < 400 else 1


def wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the handler serves; Failed when it ends or takes too long, its own words being on the terminal."""
    limit = time.monotonic() + START
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise Failed("the handler does not load", code="E180", hint="its own message is above")
        try:
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=START)
            connection.request("GET", "/readyz")
            if connection.getresponse().status < 400:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    raise Failed(f"the handler is not ready after {START:.0f} s", code="E180")


def repeat(session: Session, words: list[str], folder: Path) -> None:
    """Run the handler anew after each save, until Ctrl-C."""
    seen, process = project.stamps(folder), begin(words)
    try:
        while True:
            time.sleep(PACE)
            now = project.stamps(folder)
            if now != seen:
                seen = now
                session.out.talk("saved: starting again")
                end(process)
                process = begin(words)
    finally:
        end(process)
