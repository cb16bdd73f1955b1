"""Python environments of functions: one per (interpreter, framework, requirements), shared by all that ask for it.

An environment is made beside its place and renamed into it, so makers never see each other's halves and two at the same
time are harmless. Functions never run in the tool's own environment; the framework in there is the tool's own code,
linked file by file, so that a platform without a network has its base environment too.
"""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

import functions_framework
from builder.bundle import Scanner
from builder.errors import NoEnvironment
from builder.requirements import lock_digest
from controller.local.processes import die_with_parent

DEPENDENCIES = ("msgspec", "uvicorn", "httptools", "uvloop", "werkzeug", "click")
"""What functions_framework imports; their own requirements follow."""

_STALE = 3600.0
"""Seconds after which a half-made environment is somebody's remains."""


class Environment(msgspec.Struct, frozen=True):
    """A finished environment."""

    digest: str
    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


def cache_directory() -> Path:
    """``EVOKE_CACHE``, else ``~/.cache/evoke``."""
    return Path(os.environ.get("EVOKE_CACHE") or Path.home() / ".cache" / "evoke")


class Environments:
    """Makes environments below *directory*, each once."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or cache_directory() / "environments"
        self._making: dict[str, asyncio.Task[Environment]] = {}

    def find(self, digest: str) -> Environment | None:
        """The environment of *digest* if it is there."""
        path = self._directory / digest.removeprefix("sha256:")[:32]
        return Environment(digest, path) if (path / "bin" / "python").exists() else None

    def digest(self, requirements: tuple[str, ...] = (), *, framework: bool = True) -> str:
        """What an environment of these requirements is called on this machine."""
        ours = _framework() if framework or not requirements else ()
        return lock_digest(requirements, sysconfig.get_platform(), sys.version, *ours)

    async def ensure(
        self, requirements: tuple[str, ...] = (), *, log: Path | None = None, framework: bool = True
    ) -> Environment:
        """The environment of *requirements*, made now if need be; NoEnvironment with the installer's reason.

        Without *framework* nothing of ours is in it that theirs could be at odds with; one without any requirements is
        the same for all.
        """
        digest, framework = self.digest(requirements, framework=framework), framework or not requirements
        found = self.find(digest)
        if found is not None:
            return found
        task = self._making.get(digest)
        if task is None:
            task = asyncio.ensure_future(self._make(digest, requirements, log, framework=framework))
            self._making[digest] = task
            task.add_done_callback(lambda _: self._making.pop(digest, None))
        return await asyncio.shield(task)

    async def _make(
        self, digest: str, requirements: tuple[str, ...], log: Path | None, *, framework: bool
    ) -> Environment:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        work = Path(tempfile.mkdtemp(dir=self._directory, prefix=".new-"))
        try:
            await _uv(
                log, "venv", "--quiet", "--relocatable", "--python", sys.executable, "--allow-existing", str(work)
            )
            if framework:
                await asyncio.to_thread(_link_framework, work)
            if requirements:
                listing = _listing(work, requirements, _minimums() if framework else {})
                python = str(work / "bin" / "python")
                await _uv(log, "pip", "install", "--python", python, "--compile-bytecode", "-r", str(listing))
            _finish(work, self._directory / digest.removeprefix("sha256:")[:32])
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        made = self.find(digest)
        if made is None:
            raise NoEnvironment(f"{self._directory} cannot be written")
        return made

    def _sweep(self) -> None:
        for path in self._directory.glob(".new-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path, ignore_errors=True)


def link(target: Path, environment: Environment) -> None:
    """Point the symlink *target* (``STATE/env``, for editors) at *environment*, atomically."""
    beside = target.with_name(f".{target.name}-{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(environment.path)
    beside.replace(target)


def _listing(work: Path, requirements: tuple[str, ...], minimums: Mapping[str, str]) -> Path:
    """One file with the user's requirements and the framework's, so that they are resolved together."""
    wanted = [*requirements, *(f"{name}>={version}" for name, version in minimums.items())]
    listing = work / "requirements.txt"
    listing.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    return listing


def _finish(work: Path, place: Path) -> None:
    work.chmod(0o755)
    with contextlib.suppress(OSError):  # another maker was first: theirs is as good
        work.rename(place)


async def _uv(log: Path | None, *arguments: str) -> None:
    from uv import find_uv_bin

    process = await asyncio.create_subprocess_exec(
        find_uv_bin(),
        *arguments,
        "--no-progress",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",  # no pyproject.toml or uv.toml of the user's project
        preexec_fn=die_with_parent,  # one prctl call, resolved beforehand
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    text = output.decode(errors="replace")
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(text)
    if process.returncode:
        raise NoEnvironment(_reason(text))


def _reason(text: str) -> str:
    """The installer's explanation on one line."""
    lines = [re.sub(r"^(?:[\s×╰─▶│├]|error:|cause:)+", "", line).strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Using ", "Resolved ", "warning:", "hint:"))]
    return " ".join(kept)[:500] or "the installer ended without a word"


@functools.cache
def _framework() -> tuple[str, ...]:
    package = Path(functions_framework.__file__).parent
    versions = (f"{name}=={importlib.metadata.version(name)}" for name in _closure())
    return (Scanner().scan(package).digest, *versions)


@functools.cache
def _closure() -> tuple[str, ...]:
    """DEPENDENCIES and what they need, without extras, as installed here."""
    pending, found = list(DEPENDENCIES), set[str]()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement, _, marker = line.partition(";")
            if "extra" not in marker and "platform" not in marker and "python_version" not in marker:
                pending.append(re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0].lower())
    return tuple(sorted(found))


def _minimums() -> dict[str, str]:
    """The oldest versions that the framework works with: those of the tool's own requirements."""
    found = {}
    for line in importlib.metadata.requires("evoke-functions") or ():
        match = re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)", line)
        if match and match[1] in DEPENDENCIES:
            found[match[1]] = match[2]
    return found


def _link_framework(environment: Path) -> None:
    site = next(environment.glob("lib/python*/site-packages"))
    for name in _closure():
        for source, relative in _files(name):
            _link_or_copy(source, site / relative)
    package = Path(functions_framework.__file__).parent
    for source in package.rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            target = site / "functions_framework" / source.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)  # never a link: an editor that writes in place would change it
    compileall.compile_dir(site, quiet=2, workers=1)


def _files(name: str) -> Iterator[tuple[Path, Path]]:
    for file in importlib.metadata.files(name) or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
            yield source, Path(*file.parts)


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)  # one copy on disk, and its pages are shared in memory
    except OSError:
        shutil.copy2(source, target)
