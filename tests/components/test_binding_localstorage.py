"""bindings.localstorage: files below a folder, and no way out of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.components import binding_localstorage
from proxy.components.protocols import ComponentError, ComponentFailed, MetadataIllegal, OutputBinding, TooMuch
from tests.components.world import app, component, opened

Body = Callable[[OutputBinding], Awaitable[None]]


def on(root: Path, body: Body, **metadata: str) -> None:
    async def main() -> None:
        async with opened(component("files", "bindings.localstorage", {"rootPath": str(root), **metadata})) as here:
            await body(here.binding(app(), "files"))

    asyncio.run(main())


def test_files(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"

    async def body(files: OutputBinding) -> None:
        answer = await files.invoke("create", b"a line\n", {"fileName": "/in/a/folder.txt"})
        assert json.loads(answer.data) == {"fileName": "in/a/folder.txt"}
        assert (root / "in/a/folder.txt").read_bytes() == b"a line\n"
        assert (await files.invoke("get", b"", {"fileName": "in/a/folder.txt"})).data == b"a line\n"
        unnamed = json.loads((await files.invoke("create", b"a line\n", {})).data)["fileName"]
        listed = json.loads((await files.invoke("list", b"", {})).data)
        assert listed == sorted([str(root / "in/a/folder.txt"), str(root / unnamed)])
        assert json.loads((await files.invoke("list", b"", {"fileName": "in"})).data) == [str(root / "in/a/folder.txt")]
        await files.invoke("delete", b"", {"fileName": "in/a/folder.txt"})
        await files.invoke("delete", b"", {"fileName": "in/a"})
        for operation, message in (("get", "No such file"), ("delete", "No such file")):
            with pytest.raises(ComponentError, match=message):
                await files.invoke(operation, b"", {"fileName": "in/a/folder.txt"})
        with pytest.raises(MetadataIllegal, match="fileName is missing"):
            await files.invoke("get", b"", {})
        assert [path.name for path in root.iterdir() if path.name.endswith(".new")] == []

    (tmp_path / "new").mkdir()
    on(root, body)


@pytest.mark.parametrize(
    ("data", "decoded", "kept"),
    [
        (b"plain text", b"plain text", b"plain text"),
        (b'"quoted \\"text\\""', b'quoted "text"', b'"quoted \\"text\\""'),
        (base64.b64encode(b"\x00\xff"), b"\x00\xff", b"AP8="),
        (json.dumps(base64.b64encode(b"\x00\xff").decode()).encode(), b"\x00\xff", b'"AP8="'),
        (b'{"n": 1}', b'{"n": 1}', b'{"n": 1}'),
        (b"\x00\xff", b"\x00\xff", b"\x00\xff"),
        (b"test", b"\xb5\xeb-", b"test"),
    ],
)
def test_content(tmp_path: Path, data: bytes, decoded: bytes, kept: bytes) -> None:
    async def body(files: OutputBinding) -> None:
        await files.invoke("create", data, {"fileName": "f"})

    on(tmp_path, body)
    assert (tmp_path / "f").read_bytes() == decoded
    on(tmp_path, body, decodeBase64="false")
    assert (tmp_path / "f").read_bytes() == kept


@pytest.mark.parametrize("name", ["../out", "a/../../out", "..", "a\0b", "x" * 300, "./.."])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "out").write_text("secret")

    async def body(files: OutputBinding) -> None:
        for operation in ("create", "get", "delete", "list"):
            with pytest.raises(MetadataIllegal, match="is no name below rootPath"):
                await files.invoke(operation, b"x!", {"fileName": name})

    on(tmp_path / "root", body)
    assert (tmp_path / "out").read_text() == "secret"


def test_links_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("hunter2")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")

    async def body(files: OutputBinding) -> None:
        for operation, name in (
            *((operation, "folder/secret") for operation in ("get", "create", "delete")),
            ("get", "file"),
            ("list", "folder"),
        ):
            with pytest.raises(ComponentError, match="link"):
                await files.invoke(operation, b"mine", {"fileName": name})
        listed = json.loads((await files.invoke("list", b"", {})).data)
        assert not any("secret" in path for path in listed)
        await files.invoke("create", b"mine!", {"fileName": "file"})

    on(root, body)
    assert (outside / "secret").read_text() == "hunter2"
    assert not (root / "file").is_symlink()


def test_what_is_no_file_and_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding_localstorage, "LARGEST", 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)

    async def body(files: OutputBinding) -> None:
        with pytest.raises(ComponentError, match="pipe is no file"):
            await files.invoke("get", b"", {"fileName": "pipe"})
        with pytest.raises(TooMuch, match="large has 11 bytes, more than 10"):
            await files.invoke("get", b"", {"fileName": "large"})

    on(tmp_path, body)


@pytest.mark.parametrize(
    ("root", "wanted"), [("/proc/self", "a folder of the system"), ("{tmp}/file", "File exists"), ("", "it is empty")]
)
def test_folders_that_cannot_be_used(tmp_path: Path, root: str, wanted: str) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        metadata = {"rootPath": root.replace("{tmp}", str(tmp_path))}
        async with opened(component("files", "bindings.localstorage", {**metadata})) as here:
            with pytest.raises(ComponentFailed, match=wanted):
                await here.binding(app(), "files").invoke("list", b"", {})

    asyncio.run(main())
