"""``evoke up``: the platform, this folder's resources, reload on save, and what happens, in one terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from api import platform
from cli import documents, project, readiness, start, target, wording
from cli.client import Client
from cli.commands.apply import names, report_warnings
from cli.errors import Failed, MissingFile, NoPlatform, NotYet, Usage
from cli.follow import Applied, Happenings, follow, tell
from cli.narrate import Narrator
from cli.options import Session, command_line, new_app
from cli.waiting import Progress

app = new_app()

PATIENCE = 10.0
"""Seconds that a resource may take to become ready before it is told as waiting; builds take what they take."""
PACE = 0.05
Answer = TypeVar("Answer")


@command_line(
    app,
    example="""
    evoke up
    evoke up samples/fleet -d --no-watch
    """,
)
def up(  # noqa: PLR0913, PLR0917 - one parameter per option
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project.")] = Path(),
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Go to the background once all is ready.")] = False,
    no_watch: Annotated[bool, typer.Option("--no-watch", help="Saves change nothing.")] = False,
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Keep resources whose YAML is gone.")] = False,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, metavar="N", help="HTTP port.")] = None,
    proxies: Annotated[int, typer.Option("--proxies", min=0, metavar="N", help="More processes that deliver.")] = 0,
    durability: Annotated[
        platform.Durability,
        typer.Option(
            "--durability",
            help="sync: an event is on disk before it is acknowledged, and no power cut loses it. "
            "os: on disk within two minutes; faster, and a power cut loses what came since.",
        ),
    ] = "sync",
    bus: Annotated[str, typer.Option("--bus", metavar="URL", help="Another broker as the default bus.")] = "",
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="Where data lives [DIR/.evoke].")] = None,
) -> None:
    """Start the platform, apply DIR, reload what is saved, and show what happens. Ctrl-C stops everything, data stays.

    With -d it goes on in the background (`evoke down` stops it). As a server: `evoke up -d --no-watch`.
    """
    if bus:
        raise NotYet("--bus", hint="name the broker in an EventBus resource")
    if not folder.is_dir():
        raise MissingFile(folder)
    if not detach and not no_watch and (own := project.output_inside(folder)):
        hint = "name it with a dot first, put it elsewhere, or add --no-watch"
        raise Usage(f"the output goes to {own} in the project: each line would be a save", hint=hint)
    place = (state or folder / target.FOLDER).absolute()
    watched = Watched(session, folder, place, prune=not no_prune, watch=not no_watch)
    signal.signal(signal.SIGTERM, _terminate)
    # a mistake ends it before anything starts
    documents.load_project(folder, namespace=session.namespace, talk=None if session.out.quiet else sys.stderr)
    options = [f"--port={port}"] if port else []
    options += [f"--proxies={proxies}"] if proxies else []
    options += [f"--durability={durability}"] if durability != "sync" else []
    options += ["--no-watch"] if no_watch else []
    supervisor = start.Supervisor(place, options, dies_with_us=not detach)
    stays = False
    try:
        watched.begin(supervisor)
        if detach:
            watched.leave()
            stays = True
        else:
            watched.watch(lambda: not supervisor.ended)
            session.out.talk("stopped; data stays" if start.holder(place) is None else supervisor.said())
    finally:
        if not stays:
            _stop(session, supervisor)


class Watched:
    """One project on its platform."""

    def __init__(self, session: Session, folder: Path, state: Path, *, prune: bool, watch: bool) -> None:
        self._session, self._out, self._folder, self._state = session, session.out, folder, state
        self._prune, self._watch = prune, watch
        self._client: Client = start.client(state, session.namespace)
        self._narrator = Narrator()
        self._applied = Applied(folder, self._client, prune=prune)

    def begin(self, supervisor: start.Supervisor) -> None:
        """Wait for the platform, apply the folder, and tell how each resource does."""
        self._progress, self._supervisor = Progress(self._out), supervisor
        facts = supervisor.wait_for(self._client, self._progress.say)
        self._progress.clear()
        self._happenings = Happenings(self._client)
        self._banner(facts)
        results = self._asked(self._applied.apply)
        report_warnings(self._session, results)
        self._wait({"eventbus/default", *names(results)})

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """The platform's answer; waits while it is started again, as when somebody else took a port of its."""
        while True:
            try:
                return ask()
            except NoPlatform:
                self._supervisor.wait_for(self._client, self._progress.say)

    def watch(self, running: Any) -> None:
        """Tell and re-apply until the platform ends."""
        count = wording.counted(sum(1 for _ in project.files(self._folder)), "file")
        rest = "Ctrl-C stops, data stays"
        self._line(f"watching {count}; {rest}" if self._watch else f"running; {rest}")
        applied = self._applied if self._watch else None
        follow(self._out, self._narrator, self._happenings, folder=self._folder, applied=applied, running=running)

    def leave(self) -> None:
        """Let it go on in the background, with a watcher of its own where files are watched."""
        if self._watch:
            words = ["--folder", str(self._folder.absolute()), "--state", str(self._state)]
            words += ["--namespace", self._session.namespace, *([] if self._prune else ["--no-prune"])]
            with (self._state / "logs" / "up.log").open("ab") as log:
                subprocess.Popen(  # noqa: S603 - our own words
                    [sys.executable, "-P", "-m", "cli.watch", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._line("running in the background; stop it with `evoke down`")

    def _banner(self, facts: dict[str, Any]) -> None:
        state = os.path.relpath(self._state)
        shown = state if not state.startswith("..") else str(self._state)
        parts = ("local", f"state {shown}", f"http {facts['http']}", f"mqtt {facts['mqtt']}")
        if self._out.structured:
            self._out.item({"type": "platform", **facts}, "")
        else:
            self._line(" · ".join(parts))

    def _wait(self, wanted: Iterable[str]) -> None:
        """Tell each resource, in the order in which work flows, as soon as it is ready or cannot become it."""
        begun = time.monotonic()
        for name in readiness.in_order(wanted):
            while (resource := self._asked(partial(self._find, name))) is None or not readiness.settled(resource):
                passed = time.monotonic() - begun
                if resource and passed > PATIENCE and not readiness.building(resource):
                    break  # such as a broker that is away: told as it is, and the rest goes on
                if passed > 1:
                    said = wording.readiness(resource) if resource else "is not there"
                    self._progress.say(f"{name}: {said} ({passed:.0f} s)")
                if start.holder(self._state) is None:
                    raise Failed("the platform ended", hint=f"see {self._state}/logs")
                time.sleep(PACE)
            self._progress.clear()
            kind, _, own = name.partition("/")
            function = self._asked(partial(self._client.function, own)) if kind == "function" else None
            line = readiness.line(resource, function)
            self._narrator.knows(name, line)
            self._line(line)
        for happening in self._happenings.take(0):
            if happening["type"] not in {"ready", "changed", "problem"}:
                tell(self._out, self._narrator, happening)

    def _find(self, name: str) -> dict[str, Any] | None:
        kind, _, own = name.partition("/")
        return next((one for one in self._client.items(kind) if one["metadata"]["name"] == own), None)

    def _line(self, text: str) -> None:
        if not self._out.structured:
            self._out.item(None, text)


def _stop(session: Session, supervisor: start.Supervisor) -> None:
    """Stop all processes; a second Ctrl-C does not cut that short, its end is bounded."""
    progress = Progress(session.out)
    progress.say("stopping...")
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor.stop()
    signal.signal(signal.SIGINT, handler)
    progress.clear()


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt
