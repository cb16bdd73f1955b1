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


class Crowd:
    def __init__(self, per_app: int = PER_APP, per_namespace: int = PER_NAMESPACE) -> None:
        self._per_app, self._per_namespace = per_app, per_namespace
        self._apps: Counter[Key] = Counter()
        self._namespaces: Counter[str] = Counter()

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
