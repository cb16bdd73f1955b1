"""state.sqlite: a file as daprd leaves it, several processes on it, and files that cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.components.protocols import ComponentFailed, Write
from tests.components.world import app, component, opened

# The table as daprd's first migration leaves it.
THEIRS = """
CREATE TABLE state (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL,
    expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO state (key, value, is_binary, etag) VALUES ('orders||text', '{"n":1}', 0, 'e1'),
    ('orders||bytes', 'AP8=', 1, 'e2');
INSERT INTO state (key, value, is_binary, etag, expiration_time)
    VALUES ('orders||gone', '1', 0, 'e3', '2001-01-01 00:00:00');
"""


def test_a_file_of_daprd_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as database:
        database.executescript(THEIRS)
    database.close()

    async def main() -> None:
        async with opened(component("store", "state.sqlite", {"connectionString": f"file:{path}"})) as here:
            store = here.state(app(), "store")
            text, binary, gone = await store.get(["text", "bytes", "gone"])
            assert text is not None
            assert binary is not None
            assert (text.value, text.etag, binary.value, gone) == (b'{"n":1}', "e1", b"\x00\xff", None)
            await store.change(Write(key="text", value=b"2", etag="e1"))

    asyncio.run(main())


ADD = """
import asyncio, sys
from proxy.components.protocols import EtagMismatch, Write
from tests.components.world import app, component, opened

async def main():
    async with opened(component("store", "state.sqlite", {"connectionString": sys.argv[1]})) as here:
        store = here.state(app(), "store")
        for _ in range(50):
            while True:
                (item,) = await store.get(["n"])
                try:
                    await store.change(Write(key="n", value=str(int(item.value) + 1).encode(), etag=item.etag))
                    break
                except EtagMismatch:
                    pass

asyncio.run(main())
"""


@pytest.mark.parametrize("wal", ["true", "false"])
def test_several_processes_share_a_file(tmp_path: Path, wal: str) -> None:
    path = str(tmp_path / "state.db")

    async def first() -> None:
        options = {"connectionString": path, "disableWAL": wal}
        async with opened(component("store", "state.sqlite", {**options})) as here:
            await here.state(app(), "store").change(Write(key="n", value=b"0"))

    asyncio.run(first())
    workers = [subprocess.Popen([sys.executable, "-c", ADD, path]) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT value FROM state").fetchone() == ("100",)
    database.close()


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({"connectionString": "/nowhere/at/all/state.db"}, "unable to open database file; make its folder"),
        ({"connectionString": "{tmp}/text"}, "file is not a database"),
        ({"connectionString": "file:{tmp}/new?_pragma=busy_timeout(1)&_txlock=immediate"}, ""),
        ({}, r"connectionString\]: it is missing"),
        ({"connectionString": ""}, r"connectionString\]: it is empty"),
        ({"connectionString": "x", "tableName": "a; DROP TABLE b"}, "is no name; use letters, digits and _"),
        ({"connectionString": "x", "cleanupInterval": "sometimes"}, "is no duration"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, metadata: dict[str, str], wanted: str) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    given = {name: value.replace("{tmp}", str(tmp_path)) for name, value in metadata.items()}

    async def main() -> None:
        async with opened(component("store", "state.sqlite", {**given})) as here:
            if not wanted:
                assert await here.state(app(), "store").get(["k"]) == [None]
                return
            with pytest.raises(ComponentFailed, match=wanted):
                await here.state(app(), "store").get(["k"])

    asyncio.run(main())


def test_a_value_past_its_time_is_deleted_too(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        options = {"connectionString": str(path), "cleanupInterval": "50ms", "keyPrefix": "none"}
        async with opened(component("store", "state.sqlite", {**options})) as here:
            await here.state(app(), "store").change(Write(key="k", value=b"1", metadata={"ttlInSeconds": "1"}))
            async with asyncio.timeout(10):
                while _count(path):  # noqa: ASYNC110 - time passes by itself
                    await asyncio.sleep(0.05)

    asyncio.run(main())


def _count(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM state").fetchone()[0])
    finally:
        database.close()


def test_a_file_that_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as database:
        database.executescript(THEIRS)
    database.close()

    async def main() -> None:
        async with opened(
            component("store", "state.sqlite", {"url": f"{path}?mode=ro", "timeoutInSeconds": "5"})
        ) as here:
            store = here.state(app(), "store")
            (item,) = await store.get(["text"])
            assert item is not None
            with pytest.raises(ComponentFailed, match="readonly") as failed:
                await store.change(Write(key="text", value=b"2"))
            assert failed.value.reason == "StorageFailed"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"busyTimeout": "50ms"}, "database is locked"),
        ({"busyTimeout": "20s", "timeout": "100ms"}, r"database is locked|did not do it within 0\.1 s"),
    ],
)
def test_a_file_that_is_locked(tmp_path: Path, options: dict[str, str], wanted: str) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        async with opened(component("store", "state.sqlite", {"connectionString": str(path), **options})) as here:
            store = here.state(app(), "store")
            await store.change(Write(key="k", value=b"1"))
            other = sqlite3.connect(path, isolation_level=None)
            try:
                other.execute("BEGIN EXCLUSIVE")
                with pytest.raises(ComponentFailed, match=wanted):
                    await store.change(Write(key="k", value=b"2"))
                writes = [store.change(Write(key=f"k{number}", value=b"2")) for number in range(4)]
                results = await asyncio.gather(*writes, return_exceptions=True)
                assert all(isinstance(result, ComponentFailed) for result in results)
                other.execute("ROLLBACK")
            finally:
                other.close()
            items = await store.get(["k", "k0", "k1", "k2", "k3"])
            assert [item and item.value for item in items] == [b"1", None, None, None, None]
            await store.change(Write(key="k", value=b"3"))

    asyncio.run(main())
