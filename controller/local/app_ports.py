"""Ports on the loopback for Dapr apps: where a replica listens, and where its app finds the API at every start.

They lie below what Linux gives to outgoing connections (32768 and up), so that none of those takes one while it is
free.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator

from api.errors import Unavailable
from api.frames import AppListener
from api.meta import Key
from api.platform import LOOPBACK, free

FIRST, LAST = 10_000, 31_999

_SCHEMA = """
CREATE TABLE IF NOT EXISTS app_listeners (
    namespace TEXT, function TEXT, http INTEGER NOT NULL, grpc INTEGER NOT NULL, PRIMARY KEY (namespace, function)
) WITHOUT ROWID;
"""


class AppPorts:
    """Every port that this platform has given away."""

    def __init__(self, db: sqlite3.Connection, *, seed: str = "", is_free: Callable[[int], bool] = free) -> None:
        """*seed* differs between platforms of one machine, which then begin their search at different places."""
        self._db, self._seed, self._free = db, seed, is_free
        db.executescript(_SCHEMA)
        rows = db.execute("SELECT namespace, function, http, grpc FROM app_listeners")
        self._listeners = {Key(row[0], row[1]): (int(row[2]), int(row[3])) for row in rows}
        self._lent: dict[str, int] = {}

    def listener(self, function: Key) -> AppListener:
        """Where the Dapr API listens for *function* alone; chosen once."""
        known = self._listeners.get(function)
        if known is None:
            http = self._choose(f"{function} http")
            known = self._listeners[function] = (http, self._choose(f"{function} grpc", besides={http}))
            self._db.execute(
                "INSERT OR REPLACE INTO app_listeners VALUES (?,?,?,?)", (function.namespace, function.name, *known)
            )
        return AppListener(function=function, http=f"{LOOPBACK}:{known[0]}", grpc=f"{LOOPBACK}:{known[1]}")

    def renew(self) -> list[Key]:
        """Before anything of the platform listens: forget the ports that somebody else has taken meanwhile."""
        taken = [key for key, ports in self._listeners.items() if not all(map(self._free, ports))]
        self._forget(taken)
        return taken

    def keep(self, functions: Collection[Key]) -> None:
        """Forget the listeners of all other functions."""
        self._forget([key for key in self._listeners if key not in functions])

    def lend(self, replica: str) -> int:
        """A port for *replica* to listen at, until it is given back."""
        port = self._lent.get(replica) or self._choose(replica)
        self._lent[replica] = port
        return port

    def occupy(self, replica: str, port: int) -> None:
        """*replica* listens there already."""
        self._lent[replica] = port

    def give_back(self, replica: str) -> None:
        self._lent.pop(replica, None)

    def _forget(self, functions: Collection[Key]) -> None:
        for key in functions:
            del self._listeners[key]
            self._db.execute(
                "DELETE FROM app_listeners WHERE namespace = ? AND function = ?", (key.namespace, key.name)
            )

    def _choose(self, name: str, besides: Collection[int] = ()) -> int:
        taken = {*besides, *self._lent.values(), *(port for pair in self._listeners.values() for port in pair)}
        found = next((port for port in self._search(name) if port not in taken and self._free(port)), None)
        if found is None:
            raise Unavailable(f"no port from {FIRST} to {LAST} is free on this machine")
        return found

    def _search(self, name: str) -> Iterator[int]:
        """All ports, from where *name* says."""
        count = LAST - FIRST + 1
        start = zlib.crc32(f"{self._seed} {name}".encode()) % count
        return (FIRST + (start + step) % count for step in range(count))
