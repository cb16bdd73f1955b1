"""``bindings.localstorage``: files below one folder of the proxy's machine.

A name is walked from the folder part by part without following links, so no name and no link leads out of it. A file
appears with its content, or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from api.model import Component
from proxy.components.declaration import Declared
from proxy.components.families import BindingMetadata
from proxy.components.protocols import Answer, ComponentError, ComponentFailed, MetadataIllegal, TooMuch
from proxy.components.surroundings import Surroundings

LARGEST = 100 << 20
"""Bytes of a file that is read."""
MOST = 10_000
"""Files of a list."""
_CLOSED = tuple(Path(path) for path in ("/proc", "/sys", "/boot", "/dev", "/var/run/secrets", "/run/secrets"))


class Metadata(BindingMetadata, frozen=True, kw_only=True):
    """Keeps files; metadata of a request: ``fileName``, below the folder."""

    root_path: Annotated[str, msgspec.Meta(min_length=1)]
    """The folder, absolute or below the project's; made if it is not there."""
    decode_base64: bool = msgspec.field(name="decodeBase64", default=True)
    """Ours: whether content that reads as base64 is decoded, as daprd does with all of it. Text such as ``test`` reads
    so too: with ``false`` files hold exactly what was sent."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        root = Path(self.root_path).resolve()
        if any(root == closed or closed in root.parents for closed in _CLOSED):
            yield "rootPath", "it points to a folder of the system"


class LocalStorage:
    def __init__(self, metadata: Metadata, folder: Path) -> None:
        self._root, self._decodes = (folder / metadata.root_path).resolve(), metadata.decode_base64

    async def open(self) -> str:
        try:
            await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ComponentFailed(f"rootPath {self._root}: {error.strerror}", reason="Missing") from error
        return str(self._root)

    async def close(self) -> None:
        """Nothing is kept."""

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:
        name = metadata.get("fileName", "")
        if not name and operation == "create":
            name = str(uuid.uuid4())
        parts = _parts(name)
        if not parts and operation != "list":
            raise MetadataIllegal("fileName is missing in the metadata of the request")
        try:
            return await asyncio.to_thread(self._do, operation, parts, data)
        except OSError as error:
            said = "it is a link, or lies behind one" if error.errno in _LINKS else error.strerror
            raise ComponentError(f"{operation} {name[:200] or '/'}: {said}") from error

    # Everything below runs in a thread.

    def _do(self, operation: str, parts: list[str], data: bytes) -> Answer:
        match operation:
            case "create":
                return self._create(parts, _content(data) if self._decodes else data)
            case "get":
                return Answer(data=self._get(parts))
            case "delete":
                self._delete(parts)
                return Answer()
        return Answer(data=msgspec.json.encode(self._list(parts)))

    def _create(self, parts: list[str], content: bytes) -> Answer:
        with self._folder(parts[:-1], make=True) as folder:
            new = f".{uuid.uuid4().hex}.new"
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(new, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(new, dir_fd=folder)
                raise
        return Answer(data=msgspec.json.encode({"fileName": "/".join(parts)}))

    def _get(self, parts: list[str]) -> bytes:
        with self._folder(parts[:-1]) as folder:
            handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(handle, "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise ComponentError(f"{'/'.join(parts)} is no file")
                if found.st_size > LARGEST:
                    raise TooMuch(f"{'/'.join(parts)} has {found.st_size} bytes, more than {LARGEST}")
                return file.read(LARGEST)

    def _delete(self, parts: list[str]) -> None:
        with self._folder(parts[:-1]) as folder:
            try:
                os.unlink(parts[-1], dir_fd=folder)
            except IsADirectoryError:
                os.rmdir(parts[-1], dir_fd=folder)

    def _list(self, parts: list[str]) -> list[str]:
        """Absolute paths of the files below a folder, as daprd answers them."""
        found: list[str] = []
        with self._folder(parts) as folder:
            for place, _folders, files, _handle in os.fwalk(".", dir_fd=folder):
                inside = [] if place == "." else place.removeprefix("./").split("/")
                found += [str(self._root.joinpath(*parts, *inside, name)) for name in files]
                if len(found) > MOST:
                    raise TooMuch(f"there are more than {MOST} files; list a folder of them")
        return sorted(found)

    @contextlib.contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder *parts*, reached without following a link below the root."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        here = os.open(self._root, flags)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=here)
                deeper = os.open(part, flags | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = deeper
            yield here
        finally:
            os.close(here)


_LINKS = frozenset({40, 20})
"""ELOOP, and ENOTDIR for a link that stands where a folder is expected."""


def _parts(name: str) -> list[str]:
    """The parts of a name below the root; raises MetadataIllegal for one that leads out of it."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in name or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise MetadataIllegal(f"fileName `{name[:80]}` is no name below rootPath")
    return parts


def _content(data: bytes) -> bytes:
    """What daprd makes of the data: a JSON string is unquoted, and what reads as base64 is decoded."""
    if data.startswith(b'"'):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):
            data = msgspec.json.decode(data, type=str).encode()
    with contextlib.suppress(binascii.Error, ValueError):
        return base64.b64decode(data.replace(b"\n", b"").replace(b"\r", b""), validate=True)
    return data


def open_binding(_component: Component, metadata: Metadata, around: Surroundings) -> LocalStorage:
    return LocalStorage(metadata, around.folder)


DECLARED = Declared(
    type="bindings.localstorage", metadata=Metadata, open=open_binding, operations=("create", "get", "list", "delete")
)
