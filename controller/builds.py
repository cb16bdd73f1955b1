"""Whether a function must be built, and what its build came to; pure."""

from __future__ import annotations

import msgspec

from api.actions import BuildState, CancelBuild, Observed, StartBuild
from api.conditions import Condition, false, true, unknown
from api.meta import Key
from api.model import Build, Bundle, Directory, Image, Workload, digest

SUCCEEDED = "succeeded"
RUNNING = "running"


def build_digest(build: Build, observed: Observed) -> str | None:
    """Digest of *build* and of its source's content now; None when the source is not there."""
    if not isinstance(build.source, Directory):
        return digest(build)
    tree = observed.trees.get(build.source.path)
    return digest((build, tree)) if tree else None


def act(build: Build | None, observed: Observed, function: str) -> tuple[StartBuild | CancelBuild, ...]:
    """Start what is not built, cancel what runs and is no longer asked for."""
    state = observed.builds.get(function)
    wanted = build_digest(build, observed) if build is not None else None
    if state is not None and state.digest == wanted:
        return ()
    actions: list[StartBuild | CancelBuild] = []
    if state is not None and state.phase == RUNNING:
        actions.append(CancelBuild(key=Key.parse(function), reason="a newer spec replaced this build"))
    if build is not None and wanted is not None:
        actions.append(StartBuild(build=build, digest=wanted))
    return tuple(actions)


def built(workload: Workload, build: Build | None, observed: Observed, function: str) -> Workload | None:
    """*workload* with the artifact of its finished build; None while there is none."""
    if build is None:
        return workload if isinstance(workload.artifact, Image) else None
    state = observed.builds.get(function)
    if state is None or state.phase != SUCCEEDED or state.digest != build_digest(build, observed):
        return None
    if not isinstance(state.artifact, Bundle | Image):
        return None
    return msgspec.structs.replace(workload, artifact=state.artifact)


def condition(build: Build | None, observed: Observed, function: str) -> Condition:
    """Condition Built."""
    if build is None:
        return true("Built", "NoBuild", "there is nothing to build")
    wanted = build_digest(build, observed)
    if wanted is None and isinstance(build.source, Directory):
        return _missing(build.source.path, observed)
    state = observed.builds.get(function)
    if state is None or state.digest != wanted or state.phase == RUNNING:
        return unknown("Built", "Building", "the build runs")
    return _ended(state)


def _ended(state: BuildState) -> Condition:
    if state.phase == SUCCEEDED:
        took = f"in {state.duration.total_seconds():.1f} s" if state.duration is not None else ""
        return true("Built", message=took)
    return false("Built", state.phase, state.message)


def _missing(path: str, observed: Observed) -> Condition:
    if "folders" in observed.capabilities or "processes" in observed.capabilities:
        return false("Built", "SourceNotFound", f"folder {path} is not there; create it or correct build.srcRepo.url")
    return false("Built", "SourceIsLocal", f"{path} is a folder on somebody's machine; run `evoke deploy`")
