"""``evoke doctor``: what is checked when something does not work, and a bundle to send to whoever helps."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api import platform
from api.errors import EvokeError
from cli import start, target, wording
from cli.about import version
from cli.errors import Failed, NoPlatform
from cli.options import Session, command_line, new_app
from cli.output import table
from controller.local.environments import cache_directory

app = new_app()

LOG_TAIL = 256 << 10
"""Bytes of each log in a bundle."""
SHORTEST = 6
"""Bytes of a secret that is looked for in a bundle."""
SECRET_FIELDS = frozenset({"nats_user", "nats_password", "key"})


class Check(msgspec.Struct, frozen=True):
    """One look: *ok* None means that it does not apply now."""

    name: str
    ok: bool | None
    detail: str


@command_line(
    app,
    example="""
    evoke doctor
    evoke doctor --bundle evoke.tar.gz
    """,
)
def doctor(
    session: Session,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Write facts and logs, secrets left out.")
    ] = None,
) -> None:
    """Check this machine and the platform of this folder: versions, broker, sockets, ports, and what is not ready."""
    state = target.find_state()
    checks = [*machine(), *platform_checks(session, state)]
    facts = {"checks": [msgspec.to_builtins(check) for check in checks], "version": version(), "python": sys.version}
    if bundle is not None:
        write_bundle(bundle, state, facts)
        session.out.talk(f"wrote {bundle}: look through it before you send it; function logs are your data")
    marks = {True: "ok", False: "problem", None: "-"}
    session.out.show(facts, table(["CHECK", "", "DETAIL"], [(one.name, marks[one.ok], one.detail) for one in checks]))
    if bad := [one.name for one in checks if one.ok is False]:
        raise Failed(f"{wording.counted(len(bad), 'check')} failed: {', '.join(bad)}")


def machine() -> Iterator[Check]:
    """What every platform here stands on."""
    yield Check("python", sys.version_info >= (3, 11), ".".join(map(str, sys.version_info[:3])))
    yield _tried("broker binary", _broker)
    yield _tried("uv", lambda: _found("uv"))
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    yield Check("cache", os.access(cache, os.W_OK), str(cache))
    free = shutil.disk_usage(cache).free
    yield Check("disk", free > 1 << 30, f"{free >> 20} MiB free at {cache}")


def _tried(name: str, look: Any) -> Check:
    try:
        return Check(name, True, str(look()))
    except (EvokeError, OSError, RuntimeError, ImportError) as error:
        return Check(name, False, str(error))


def _broker() -> str:
    from eventbus import embedded

    return f"{embedded.binary()} {embedded.VERSION}"


def _found(program: str) -> str:
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise Failed(f"{program} is not there", hint="install evoke again")
    return found


def platform_checks(session: Session, state: Path | None) -> Iterator[Check]:
    """The platform of this folder, when there is one."""
    if state is None:
        yield Check("platform", None, "no .evoke folder here or above")
        return
    yield from privacy(state)
    pid = start.holder(state)
    if pid is None:
        yield Check("platform", None, "does not run; start it with `evoke up`")
        return
    yield Check("platform", True, f"supervisor pid {pid}")
    try:
        facts = session.client.platform()
        resources = session.client.items("all", everywhere=True)
    except (NoPlatform, EvokeError) as error:
        yield Check("controller", False, str(error))
        return
    yield Check("controller", True, ", ".join(f"{name} {facts[name]}" for name in ("http", "mqtt") if name in facts))
    for name, child in children(state).items():
        if child.get("problem"):
            yield Check(name, False, child["problem"])
    for resource in resources:
        ready = wording.readiness(resource)
        if ready != "True":
            message = wording.condition(resource.get("status") or {}).get("message", "")
            yield Check(wording.name_of(resource), False, f"{ready} {message}".strip())


def privacy(state: Path) -> Iterator[Check]:
    """What holds credentials belongs to its owner alone."""
    exposed = [path for path in (state, *credentials(state)) if path.exists() and path.stat().st_mode & 0o077]
    hint = ", ".join(f"{path.relative_to(state.parent)} is readable by others: chmod go= it" for path in exposed[:3])
    yield Check("privacy", not exposed, hint or str(state))


def credentials(state: Path) -> Iterator[Path]:
    yield from (state / platform.FILE, state / "nats.conf", state / "state.db")
    yield from (path for path in (state / "secrets").rglob("*") if path.is_file())


def children(state: Path) -> dict[str, Any]:
    """What the supervisor says of its processes."""
    try:
        found: dict[str, Any] = json.loads((platform.run_directory(state) / "children.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def secrets(state: Path) -> Iterator[bytes]:
    """Values of the user's secrets as a log could hold them: as they are, escaped, and in base64.

    Shorter ones stand in ordinary words too: hiding those would leave nothing to read.
    """
    for path in (state / "secrets").rglob("*"):
        value = path.read_bytes().strip() if path.is_file() else b""
        if len(value) < SHORTEST:
            continue
        yield from (value, base64.b64encode(value))
        with suppress(UnicodeDecodeError):
            yield json.dumps(value.decode())[1:-1].encode()


def write_bundle(path: Path, state: Path | None, facts: dict[str, Any]) -> None:
    """A tar of the facts, the addresses and the ends of the platform's logs; credentials and secrets stay out."""
    hidden = list(secrets(state)) if state else []
    contents = {"doctor.json": json.dumps(facts, indent=2).encode()}
    known = platform.load(state) if state else None
    if state is not None and known is not None:
        plain = msgspec.to_builtins(known)
        hidden += [str(plain[name]).encode() for name in SECRET_FIELDS if len(str(plain[name])) > 8]
        public = {name: value for name, value in plain.items() if name not in SECRET_FIELDS}
        contents["platform.json"] = json.dumps(public, indent=2).encode()
        for log in sorted((state / "logs").glob("*.log")):
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - LOG_TAIL))
                contents[f"logs/{log.name}"] = file.read()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            for secret in sorted(hidden, key=len, reverse=True):
                content = content.replace(secret, b"[hidden]")  # noqa: PLW2901 - one pass per secret
            entry = tarfile.TarInfo(f"evoke/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
