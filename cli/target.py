"""Where a command acts: ``local`` (the platform of the nearest ``.evoke`` folder) or ``kube:CONTEXT``.

The order: ``--on``, then what ``evoke use`` wrote to ``.evoke/target``, then local. Never the current kube context.
``EVOKE_STATE`` names the state folder of a platform that was started with ``evoke up --state DIR``.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from api.platform import run_directory
from cli.errors import NoPlatform, NotYet, Usage

FOLDER = ".evoke"
FILE = "target"


class Local(msgspec.Struct, frozen=True):
    """The platform whose state stands in *state*."""

    state: Path

    def __str__(self) -> str:
        return "local"

    @property
    def run(self) -> Path:
        """Folder of its sockets."""
        return run_directory(self.state)


class Kube(msgspec.Struct, frozen=True):
    """A cluster, by the name of its kubeconfig context."""

    context: str

    def __str__(self) -> str:
        return f"kube:{self.context}"


Target = Local | Kube


def resolve(on: str | None, *, start: Path | None = None) -> Target:
    """The target of one command; *start* is where the search for ``.evoke`` begins (default: here)."""
    state = find_state(start)
    written = read(state) if state else ""
    target = parse(on or written or "local")
    if isinstance(target, Kube):
        raise NotYet(f"a Kubernetes target ({target})", hint="it comes with the Kubernetes release; use --on local")
    if state is None:
        raise NoPlatform(
            f"no {FOLDER} folder in {start or Path.cwd()} or above it", hint="start one here with `evoke up`"
        )
    return Local(state)


def parse(text: str) -> Target | None:
    """Read ``local`` (None: wherever it is) or ``kube:CONTEXT``."""
    kind, _, context = text.partition(":")
    if kind == "kube" and context:
        return Kube(context)
    if text == "local":
        return None
    hint = "kube needs a context: kube:CONTEXT" if kind == "kube" else "use local or kube:CONTEXT"
    raise Usage(f"no target '{text}'", code="E166", hint=hint)


def find_state(start: Path | None = None) -> Path | None:
    """The nearest ``.evoke`` of *start* and its parents that a platform or `evoke use` made; EVOKE_STATE goes first."""
    if named := os.environ.get("EVOKE_STATE"):
        return Path(named).absolute()
    here = (start or Path.cwd()).absolute()
    return next((folder / FOLDER for folder in (here, *here.parents) if (folder / FOLDER).is_dir()), None)


def read(state: Path) -> str:
    """What `evoke use` wrote; empty when it never did."""
    try:
        return (state / FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def write(state: Path, text: str) -> None:
    """Remember *text* as the target of commands below *state*'s project."""
    state.mkdir(parents=True, exist_ok=True)
    (state / FILE).write_text(text + "\n", encoding="utf-8")
