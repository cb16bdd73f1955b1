"""``secretstores.local.file``: a JSON file; objects in it are flattened to ``outer:inner``, or kept as pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from api.model import Component
from proxy.components.declaration import ComponentMetadata, Declared, about
from proxy.components.protocols import ComponentFailed, SecretMissing
from proxy.components.surroundings import Surroundings

LARGEST = 16 << 20
"""Bytes of the file."""


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """Reads secrets from a JSON file, anew at every call."""

    secrets_file: Annotated[str, msgspec.Meta(min_length=1)]
    """Path of the file, absolute or below the project's folder."""
    nested_separator: Annotated[str, about(verbatim=True)] = ":"
    """Between the names of objects inside each other."""
    multi_valued: bool = False
    """A secret is an object at the top level and has several pairs, instead of one value."""


class FileSecrets:
    def __init__(self, metadata: Metadata, folder: Path) -> None:
        self._path = folder / metadata.secrets_file
        self._separator, self._multiple = metadata.nested_separator or ":", metadata.multi_valued

    async def open(self) -> str:
        return f"{len(await self.secrets({}))} secrets in {self._path}"

    async def close(self) -> None:
        """Nothing is kept."""

    async def secret(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        found = (await self.secrets(metadata)).get(name)
        if found is None:
            raise SecretMissing(f"secret {name[:80]} not found")
        return found

    async def secrets(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:  # noqa: ARG002 - none is read
        document = await asyncio.to_thread(self._read)
        if not self._multiple:
            return {name: {name: value} for name, value in self._flat(document, "")}
        found: dict[str, dict[str, str]] = {}
        for name, value in document.items():
            found[name] = dict(self._flat(value, "")) if isinstance(value, dict) else {name: _text(value)}
        return found

    def _read(self) -> dict[str, Any]:
        try:
            if self._path.stat().st_size > LARGEST:
                raise ComponentFailed(f"{self._path} is larger than {LARGEST} bytes", reason="Missing")
            document = msgspec.json.decode(self._path.read_bytes())
        except OSError as error:
            message = f"secretsFile {self._path} cannot be read: {error.strerror}"
            raise ComponentFailed(message, reason="Missing", hint="name a file that the platform may read") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # its message could show a secret
            raise ComponentFailed(f"secretsFile {self._path} is not JSON", reason="Missing") from None
        if not isinstance(document, dict):
            raise ComponentFailed(f"secretsFile {self._path} holds no JSON object", reason="Missing")
        return document

    def _flat(self, value: dict[str, Any], outer: str) -> list[tuple[str, str]]:
        found = []
        for name, inner in value.items():
            named = f"{outer}{self._separator}{name}" if outer else name
            found += self._inside(inner, named)
        return found

    def _inside(self, value: Any, named: str) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return self._flat(value, named)
        if isinstance(value, list):
            return [pair for at, one in enumerate(value) for pair in self._inside(one, f"{named}{self._separator}{at}")]
        return [(named, _text(value))]


def _text(value: Any) -> str:
    """A value of the file as the text that a secret is."""
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


def open_store(_component: Component, metadata: Metadata, around: Surroundings) -> FileSecrets:
    return FileSecrets(metadata, around.folder)


DECLARED = Declared(
    type="secretstores.local.file", metadata=Metadata, open=open_store, features=("MULTIPLE_KEY_VALUES_PER_SECRET",)
)
