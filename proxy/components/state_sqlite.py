"""``state.sqlite``: one table of a SQLite file, with the columns that daprd gives it.

All statements run in one thread of the component's own, off the event loop; several processes may share the file.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from api.model import Component
from proxy.components.declaration import Declared, about
from proxy.components.families import StateMetadata
from proxy.components.protocols import Change, ComponentFailed, EtagMismatch, Item, Remove, TooMuch, Write
from proxy.components.surroundings import Surroundings

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_ALIVE = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)"
_MANY = 500
"""Keys of one SELECT."""
LARGEST = 100 << 20
"""Bytes of a value."""


class Metadata(StateMetadata, frozen=True, kw_only=True):
    """Keeps state in a SQLite file; a value saved again without ttlInSeconds stays for ever."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({
        **StateMetadata.NOTED,
        "metadataTableName": "the only version of the table needs no record of it",
    })  # fmt: skip

    connection_string: Annotated[str, about(aliases=("url",))]
    """Path of the file, absolute or below the project's folder, or ``file:path?option=...``; ``:memory:`` for none. Its
    folder must exist."""
    timeout: Annotated[timedelta, about(aliases=("timeoutInSeconds",))] = timedelta(seconds=20)
    """For one operation."""
    busy_timeout: timedelta = timedelta(seconds=2)
    """How long an operation waits for another process's lock."""
    disable_wal: bool = msgspec.field(name="disableWAL", default=False)
    """Use the rollback journal, as network file systems need."""
    table_name: str = "state"
    """Name of the table."""
    cleanup_interval: Annotated[timedelta, about(aliases=("cleanupIntervalInSeconds",))] = timedelta(0)
    """Between two looks for values past their time; 0: they are looked for every hour, and never handed out."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if not _NAME.fullmatch(self.table_name):
            yield "tableName", f"`{self.table_name[:40]}` is no name; use letters, digits and _"
        if "\0" in self.connection_string:
            yield "connectionString", "it has a zero byte in it"


class SqliteState:
    longest = 2048

    def __init__(self, metadata: Metadata, folder: Path) -> None:
        self._folder = folder
        self._within = metadata.timeout.total_seconds() or 20.0
        self._metadata, self._table = metadata, metadata.table_name
        self._thread: ThreadPoolExecutor | None = None
        self._database: sqlite3.Connection | None = None
        self._cleaning: asyncio.Task[None] | None = None

    async def open(self) -> str:
        await self.close()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        detail = await self._run(self._connect)
        self._cleaning = asyncio.get_running_loop().create_task(self._clean_for_ever(), name="sqlite cleaning")
        return detail

    async def close(self) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
            await asyncio.gather(self._cleaning, return_exceptions=True)
            self._cleaning = None
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
            thread.shutdown(wait=False)

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        return await self._run(self._get, list(keys))

    async def change(self, change: Change) -> None:
        await self._run(self._write, [change])

    async def transact(self, changes: Sequence[Change]) -> None:
        await self._run(self._write, list(changes))

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        if self._thread is None:
            raise ComponentFailed(f"{self._metadata.connection_string} was closed")
        job = self._thread.submit(functools.partial(work, *arguments))
        doing = asyncio.wrap_future(job)
        try:
            async with asyncio.timeout(self._within):
                return await asyncio.shield(doing)
        except TimeoutError:
            if not job.cancel():  # it has begun: nobody may think that it did not happen before it has ended
                if self._database is not None:
                    self._database.interrupt()
                await asyncio.wait((doing,))
                if not doing.exception():
                    return doing.result()
            raise ComponentFailed(f"sqlite did not do it within {self._within:g} s", hint="see timeout") from None

    # Everything below runs in the thread.

    def _connect(self) -> str:
        path, options = _location(self._metadata.connection_string, self._folder)
        busy = min(self._metadata.busy_timeout.total_seconds(), self._within)
        with _translated(path):
            uri = f"file:{path}" + (f"?{options}" if options else "")
            database = sqlite3.connect(uri, timeout=busy, isolation_level=None, check_same_thread=False, uri=True)
            try:
                if "mode=ro" not in options and "immutable=" not in options:
                    journal = "DELETE" if self._metadata.disable_wal else "WAL"
                    database.execute(f"PRAGMA journal_mode={journal}")
                database.execute("PRAGMA synchronous=FULL")
                database.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, "
                    "is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL, "
                    "update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
                )
            except BaseException:
                database.close()
                raise
        self._database = database
        return f"sqlite {sqlite3.sqlite_version}, {path}"

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _get(self, keys: list[str]) -> list[Item | None]:
        found: dict[str, Item] = {}
        for start in range(0, len(keys), _MANY):
            part = keys[start : start + _MANY]
            statement = (
                "SELECT key, value, is_binary, etag, strftime('%Y-%m-%dT%H:%M:%SZ', expiration_time) "  # noqa: S608 - the table's name was checked
                f"FROM {self._table} WHERE key IN ({','.join('?' * len(part))}) AND {_ALIVE}"
            )
            with self._transaction(writes=False) as database:
                rows = database.execute(statement, part).fetchall()
            for key, value, binary, etag, expires in rows:
                found[key] = Item(
                    value=_bytes(value, binary=bool(binary)),
                    etag=etag,
                    metadata={"ttlExpireTime": expires} if expires else {},
                )
        return [found.get(key) for key in keys]

    def _write(self, changes: list[Change]) -> None:
        with self._transaction(writes=True) as database:
            for change in changes:
                if isinstance(change, Remove):
                    self._remove(database, change)
                else:
                    self._set(database, change)

    def _set(self, database: sqlite3.Connection, write: Write) -> None:
        if len(write.value) > LARGEST:
            raise TooMuch(f"the value has {len(write.value)} bytes, more than {LARGEST}")
        self._check(database, write)
        text, binary = _text(write.value)
        lives = "datetime(CURRENT_TIMESTAMP, ?)" if write.ttl > 0 else "?"
        database.execute(
            f"INSERT OR REPLACE INTO {self._table} (key, value, is_binary, etag, expiration_time, update_time) "  # noqa: S608 - the table's name was checked
            f"VALUES (?, ?, ?, ?, {lives}, CURRENT_TIMESTAMP)",
            (write.key, text, binary, str(uuid.uuid4()), f"+{write.ttl} seconds" if write.ttl > 0 else None),
        )

    def _remove(self, database: sqlite3.Connection, remove: Remove) -> None:
        self._check(database, remove)
        database.execute(f"DELETE FROM {self._table} WHERE key = ?", (remove.key,))  # noqa: S608 - as above

    def _check(self, database: sqlite3.Connection, change: Change) -> None:
        first = isinstance(change, Write) and change.concurrency == "first-write"
        if not change.etag and not first:
            return
        statement = f"SELECT etag FROM {self._table} WHERE key = ? AND {_ALIVE}"  # noqa: S608 - as above
        row = database.execute(statement, (change.key,)).fetchone()
        if (row[0] if row else None) != (change.etag or None):
            raise EtagMismatch(change.key)

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[sqlite3.Connection]:
        """Locked against writers from the start, where it writes: what was checked still holds when it is written."""
        database = self._database
        if database is None:
            raise ComponentFailed("sqlite is not open")
        with _translated(self._metadata.connection_string):
            if not writes:
                yield database
                return
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    async def _clean_for_ever(self) -> None:
        every = self._metadata.cleanup_interval.total_seconds() or 3600.0
        while True:
            await asyncio.sleep(every)
            try:
                await self._run(self._clean)
            except ComponentFailed:  # it is looked for again, and what is past its time is not handed out
                continue

    def _clean(self) -> None:
        with self._transaction(writes=True) as database:
            database.execute(f"DELETE FROM {self._table} WHERE NOT {_ALIVE}")  # noqa: S608 - as above


def _location(text: str, folder: Path) -> tuple[str, str]:
    """Path and options for a URI of SQLite; Go's own options (``_pragma``, ``_txlock``) are dropped, ours stand for
    them."""
    path, _, query = text.removeprefix("file:").partition("?")
    kept = [f"{name}={value}" for name, value in parse_qsl(query) if name in {"mode", "cache", "immutable", "vfs"}]
    plain = unquote(path) if text.startswith("file:") else path
    plain = plain if plain == ":memory:" else str(folder.absolute() / plain)
    return plain.replace("%", "%25").replace("?", "%3f").replace("#", "%23"), "&".join(kept)


def _text(value: bytes) -> tuple[str, bool]:
    """A value as its column holds it, and whether that is base64."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), True
    return (base64.b64encode(value).decode(), True) if "\0" in text else (text, False)


def _bytes(value: str | bytes, *, binary: bool) -> bytes:
    if binary:
        return base64.b64decode(value)
    return value if isinstance(value, bytes) else value.encode()


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "readonly" in text or "disk" in text or "full" in text:
            raise ComponentFailed(f"sqlite {where}: {text}", reason="StorageFailed") from error
        missing = not Path(where).parent.exists()
        hint = "make its folder" if missing else ""
        reason = "Missing" if missing else "Unreachable"
        raise ComponentFailed(f"sqlite {where}: {text}", reason=reason, hint=hint) from error
    except sqlite3.Error as error:
        raise ComponentFailed(f"sqlite {where}: {error}", reason="NotABroker") from error


def open_store(_component: Component, metadata: Metadata, around: Surroundings) -> SqliteState:
    return SqliteState(metadata, around.folder)


DECLARED = Declared(type="state.sqlite", metadata=Metadata, open=open_store, features=("ETAG", "TRANSACTIONAL", "TTL"))
