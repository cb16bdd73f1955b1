"""How many calls of the API are under way, for each app and each namespace: one that floods is told to wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from api.meta import Key
from proxy.dapr.errors import busy

K = TypeVar("K")

PER_APP = 512
PER_NAMESPACE = 2048
PER_APP_BYTES = 64 << 20
"""Of request bodies in memory."""
BYTES = 256 << 20
"""Of request bodies in memory, of all apps."""


class Held:
    """Bytes of one request's body that are in memory, until release()."""

    __slots__ = ("_app", "_crowd", "_size")

    def __init__(self, crowd: Crowd) -> None:
        self._crowd, self._app, self._size = crowd, Key("", ""), 0

    def of(self, app: Key) -> None:
        """Whose request it is."""
        self._app = app

    def add(self, size: int) -> None:
        """More of it came; raises DaprError when there is no room."""
        self._crowd.take(self._app, size)
        self._size += size

    def release(self) -> None:
        if self._size:
            self._crowd.give(self._app, self._size)
            self._size = 0


class Crowd:
    def __init__(self, per_app: int = PER_APP, per_namespace: int = PER_NAMESPACE) -> None:
        self._per_app, self._per_namespace = per_app, per_namespace
        self._apps: Counter[Key] = Counter()
        self._namespaces: Counter[str] = Counter()
        self._bytes: Counter[Key] = Counter()
        self._all_bytes = 0

    def take(self, app: Key, size: int) -> None:
        """Keep *size* bytes of a request of *app* in memory; raises DaprError above a limit."""
        if self._bytes[app] + size > PER_APP_BYTES or self._all_bytes + size > BYTES:
            raise busy("the bodies of requests under way take too much memory")
        self._bytes[app] += size
        self._all_bytes += size

    def give(self, app: Key, size: int) -> None:
        self._all_bytes -= size
        self._bytes[app] -= size
        if not self._bytes[app]:
            del self._bytes[app]

    @contextmanager
    def admit(self, app: Key) -> Iterator[None]:
        """Count one call until it ends; raises DaprError 429 above a limit."""
        if self._apps[app] >= self._per_app:
            raise busy(f"{self._per_app} calls of this app are already under way")
        if self._namespaces[app.namespace] >= self._per_namespace:
            raise busy(f"{self._per_namespace} calls of namespace {app.namespace} are already under way")
        self._apps[app] += 1
        self._namespaces[app.namespace] += 1
        try:
            yield
        finally:
            _leave(self._apps, app)
            _leave(self._namespaces, app.namespace)


def _leave(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
