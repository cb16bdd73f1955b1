"""Builds on this machine: a folder becomes a bundle, its requirements an environment; one build per function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from api.actions import BuildState, StartBuild
from api.errors import EvokeError
from api.meta import Key
from api.model import Build, Bundle, Directory
from builder import bundle, requirements
from builder.errors import BuildFailed, ChangedWhileCopied
from controller.local.environments import Environments
from controller.local.paths import Paths
from controller.local.trees import Trees

_COPIES = 5
"""Attempts to copy a folder that changes meanwhile."""


class Builds:
    """Runs builds and remembers the latest of each function."""

    def __init__(self, paths: Paths, environments: Environments, trees: Trees, changed: Callable[[], None]) -> None:
        self._paths, self._environments, self._trees, self._changed = paths, environments, trees, changed
        self._states: dict[str, BuildState] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def states(self) -> dict[str, BuildState]:
        """Function ``namespace/name`` -> its latest build."""
        return dict(self._states)

    @property
    def running(self) -> bool:
        """Whether any build runs."""
        return any(state.phase == "running" for state in self._states.values())

    def start(self, action: StartBuild) -> None:
        """Build, unless this very build runs or is done; an older one of the function is stopped."""
        name = str(action.build.key)
        known = self._states.get(name)
        if known is not None and known.digest == action.digest and known.phase in {"running", "succeeded"}:
            return
        self._stop(name)
        self._states[name] = BuildState(digest=action.digest, phase="running")
        self._tasks[name] = asyncio.create_task(self._run(action))

    def cancel(self, function: Key, reason: str) -> None:
        """Stop the build of *function* if one runs."""
        name = str(function)
        known = self._states.get(name)
        if known is not None and known.phase == "running":
            self._stop(name)
            self._states[name] = BuildState(digest=known.digest, phase="Canceled", message=reason)
            self._changed()

    async def stop(self) -> None:
        """Stop all builds."""
        tasks = list(self._tasks.values())
        for name in list(self._tasks):
            self._stop(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    async def _run(self, action: StartBuild) -> None:
        began = time.monotonic()
        phase, message, artifact = "succeeded", "", None
        try:
            async with asyncio.timeout(action.build.timeout.total_seconds()):
                artifact = await self._build(action.build)
        except TimeoutError:
            phase, message = "BuildTimeout", f"not done within {action.build.timeout.total_seconds():g} s"
        except BuildFailed as error:
            phase, message = error.reason, str(error)
        except (EvokeError, OSError) as error:
            phase, message = "BuildFailed", str(error)
        self._states[str(action.build.key)] = BuildState(
            digest=action.digest,
            phase=phase,
            message=message,
            artifact=artifact,
            duration=timedelta(seconds=time.monotonic() - began),
        )
        self._changed()

    async def _build(self, build: Build) -> Bundle:
        if build.strategy != "bundle" or not isinstance(build.source, Directory):
            raise BuildFailed("only source folders are built on this machine", hint="use build.srcRepo.url: .")
        log = self._paths.build_log(build.key)
        log.unlink(missing_ok=True)  # it tells of the latest build only
        folder = Path(build.source.path)
        place, tree = await self._collect(folder)
        _link_modules(folder, place)
        wanted = requirements.read(place, shown=folder, framework=build.framework)
        environment = await self._environments.ensure(wanted, log=log, framework=build.framework)
        return Bundle(code=tree.digest, runtime=environment.digest, source=str(place), code_size=tree.size)

    async def _collect(self, folder: Path) -> tuple[Path, bundle.Tree]:
        for attempt in range(1, _COPIES + 1):
            tree = await self._trees.scan(str(folder))
            try:
                return await asyncio.to_thread(bundle.collect, folder, tree, self._paths.bundles), tree
            except ChangedWhileCopied:
                if attempt == _COPIES:
                    raise
        raise AssertionError("unreachable")


def _link_modules(folder: Path, place: Path) -> None:
    """Let a bundle of Node find its modules: they are no part of it, as requirements are none."""
    modules, link = folder / "node_modules", place / "node_modules"
    if modules.is_dir() and not (link.is_symlink() and link.readlink() == modules.resolve()):
        link.unlink(missing_ok=True)
        link.symlink_to(modules.resolve())
