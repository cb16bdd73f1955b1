"""What an agent last knew, on disk: it goes on with this when it starts while the controller is away.

One file per namespace's snapshot and one with the endpoints of all revisions, each replaced atomically, mode 0600.
A file that does not read is as good as absent: the controller sends everything again.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from api.frames import Config, Endpoints

ENDPOINTS = "_endpoints.json"  # no namespace has an underscore
T = TypeVar("T")
_NAMESPACE = re.compile(r"[a-z0-9][-a-z0-9]{0,62}")


class Cache:
    """Files under one directory, which belongs to one agent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep_config(self, config: Config) -> None:
        if _NAMESPACE.fullmatch(config.snapshot.namespace):
            self._write(f"{config.snapshot.namespace}.json", msgspec.json.encode(config))

    def keep_endpoints(self, endpoints: Iterable[Endpoints]) -> None:
        self._write(ENDPOINTS, msgspec.json.encode(tuple(endpoints)))

    def configs(self) -> list[Config]:
        found = sorted(self._directory.glob("*.json"))
        read = (_read(path, Config) for path in found if path.name != ENDPOINTS)
        return [config for config in read if config is not None]

    def endpoints(self) -> tuple[Endpoints, ...]:
        return _read(self._directory / ENDPOINTS, tuple[Endpoints, ...]) or ()

    def _write(self, name: str, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".new-")  # mkstemp's mode is 0600
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(self._directory / name)


def _read(path: Path, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (OSError, msgspec.DecodeError):
        return None
