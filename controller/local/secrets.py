"""Secrets of one machine: ``STATE/secrets/<namespace>/<name>/<key>``, mode 0600, never in state.db and never listed
with their values."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from api.errors import InvalidInput, NotFound, Problem
from api.meta import Key, SecretKeyRef
from api.model import Option

_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$")


class Secrets:
    """Reads and writes secret values as files."""

    def __init__(self, directory: Path, changed: Callable[[Key], None] = lambda _: None) -> None:
        """*changed* hears of every secret that has another value now."""
        self._directory, self._changed = directory, changed

    def put(self, secret: Key, key: str, value: bytes) -> None:
        """Write one value, replacing what was there."""
        folder = self._folder(secret, key)
        if self._holds(folder / key, value):
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")  # mkstemp's mode is 0600
        with os.fdopen(handle, "wb") as file:
            file.write(value)
        Path(name).replace(folder / key)
        self._changed(secret)

    def read(self, namespace: str, reference: SecretKeyRef) -> str:
        """One value as text; NotFound names what is missing."""
        try:
            path = self._folder(Key(namespace, reference.name), reference.key) / reference.key
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(
                f"secret {reference.name} has no key {reference.key} in namespace {namespace}",
                hint=f"evoke secret set {reference.name} {reference.key}",
            ) from None

    def resolve(self, namespace: str, option: Option) -> str:
        """The text of a value or of what it refers to."""
        return self.read(namespace, option) if isinstance(option, SecretKeyRef) else option

    def names(self, namespace: str | None = None) -> dict[str, frozenset[str]]:
        """Secret ``namespace/name`` -> its keys."""
        found = {}
        for folder in self._directory.glob(f"{namespace or '*'}/*"):
            found[f"{folder.parent.name}/{folder.name}"] = frozenset(
                file.name for file in folder.iterdir() if not file.name.startswith(".")
            )
        return found

    def values(self, namespace: str) -> dict[str, dict[str, str]]:
        """Every secret of *namespace* with its values, without what is no text."""
        found = {}
        for name, keys in self.names(namespace).items():
            texts = {key: text for key in sorted(keys) if (text := self._text(name, key)) is not None}
            found[name.partition("/")[2]] = texts
        return found

    def _holds(self, path: Path, value: bytes) -> bool:
        try:
            return path.read_bytes() == value
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _text(self, name: str, key: str) -> str | None:
        try:
            return (self._directory / name / key).read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def delete(self, secret: Key, key: str | None = None) -> None:
        """Remove one key, or the whole secret; NotFound when there is none."""
        folder = self._folder(secret, key or "all")
        targets = [folder / key] if key else list(folder.glob("*"))
        if not any(target.exists() for target in targets):
            raise NotFound(f"secret {secret.name} has no key {key}" if key else f"secret {secret.name} is not there")
        for target in targets:
            target.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it still holds other keys
            folder.rmdir()

    def _folder(self, secret: Key, key: str) -> Path:
        problems = [
            Problem(code="E110", path=path, message=f"`{value}` is not a name; use letters, digits, `-`, `_` and `.`")
            for path, value in (("namespace", secret.namespace), ("name", secret.name), ("key", key))
            if not _NAME.match(value)
        ]
        if problems:
            raise InvalidInput(problems)
        return self._directory / secret.namespace / secret.name
