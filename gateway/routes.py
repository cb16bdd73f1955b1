"""From a request's host, path and method to a function. Pure; built from the snapshots of all namespaces.

One path is decided on and passed on: a path that two readers could understand differently (dot segments, encoded
slashes, backslashes, empty segments) is refused before anything looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from api.meta import Key
from api.model import Match, Route, Snapshot
from gateway.errors import Rejected

Mode = Literal["function", "async-function"]

_AMBIGUOUS = re.compile(r"//|\\|%(25)*(2[ef]|5c|00)|%(?![0-9a-f]{2})", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LOCAL_SUFFIXES = (".svc.cluster.local", ".localhost")
"""``<function>.<namespace>`` before one of these is a host of the function."""


class Found(msgspec.Struct, frozen=True):
    """Where one request goes."""

    route: Route
    path: str
    """What the function sees, always with a leading slash."""
    mode: Mode


def normal_path(target: bytes) -> str:
    """*target* as text when there is one way to read it; raises Rejected 400."""
    path = target.decode("ascii")
    # a single dot segment may be encoded: %2e is caught by _AMBIGUOUS whatever stands around it
    if _AMBIGUOUS.search(path) or any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/")):
        raise Rejected(400, "bad-path", "the path can be read in more than one way")
    return path


class Router:
    """Answers by host and path; a function that is not there, and one that only functions reach, look the same."""

    def __init__(self, snapshots: Iterable[Snapshot] = ()) -> None:
        self._routes: dict[Key, Route] = {}
        self._hosts: dict[str, list[Route]] = {}
        for snapshot in snapshots:
            for route in snapshot.routes:
                if route.internal:
                    continue
                self._routes[route.key] = route
                for host in route.hosts:
                    self._hosts.setdefault(host.lower(), []).append(route)

    @property
    def routes(self) -> Iterable[Route]:
        return self._routes.values()

    def route(self, key: Key) -> Route | None:
        return self._routes.get(key)

    def claims(self, host: str) -> bool:
        """Whether *host* belongs to functions, with every path under it."""
        name = _bare(host)
        return name.endswith(LOCAL_SUFFIXES) or any(known in self._hosts for known in _candidates(name))

    def resolve(self, host: str, path: str, method: str) -> Found:
        """Find the function; raises Rejected 404 or 405."""
        name = _bare(host)
        for known in _candidates(name):
            if known in self._hosts:
                return _by_match(self._hosts[known], path, method)
        for suffix in LOCAL_SUFFIXES:
            if name.endswith(suffix):
                return Found(self._named(*_split_host(name.removesuffix(suffix))), path, "function")
        mode, namespace, function, rest = _split_path(path)
        if mode == "async-function" and method != "POST":
            raise Rejected(405, "method", "an asynchronous invocation is a POST", headers=((b"allow", b"POST"),))
        return Found(self._named(namespace, function), rest, mode)

    def _named(self, namespace: str, function: str) -> Route:
        route = self._routes.get(Key(namespace, function))
        if route is None:
            raise not_found()
        return route


def not_found() -> Rejected:
    """The one answer for whatever is not served here."""
    return Rejected(404, "not-found", "no such function", hint="`evoke get functions` lists them")


def _bare(host: str) -> str:
    name = host.lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    return name.removesuffix(".")


def _candidates(name: str) -> tuple[str, str]:
    """A host itself, then the wildcard of its domain."""
    return name, f"*.{name.partition('.')[2]}"


def _split_host(name: str) -> tuple[str, str]:
    function, _, namespace = name.partition(".")
    return namespace, function


def _split_path(path: str) -> tuple[Mode, str, str, str]:
    parts = path.split("/", 4)  # "", mode, namespace, function, rest
    if len(parts) < 4 or parts[1] not in {"function", "async-function"}:
        raise not_found()
    if not (_NAME.fullmatch(parts[2]) and _NAME.fullmatch(parts[3])):
        raise not_found()
    mode: Mode = "function" if parts[1] == "function" else "async-function"
    return mode, parts[2], parts[3], "/" + (parts[4] if len(parts) == 5 else "")


def _by_match(routes: list[Route], path: str, method: str) -> Found:
    best: tuple[int, Route] | None = None
    allowed: set[str] = set()
    for route in routes:
        for match in route.matches or (Match(),):
            rank = _rank(match, path)
            if rank is None:
                continue
            if match.methods and method not in match.methods:
                allowed.update(match.methods)
            elif best is None or rank > best[0]:
                best = (rank, route)
    if best is not None:
        return Found(best[1], path, "function")
    if allowed:
        raise Rejected(
            405, "method", "the method is not allowed", headers=((b"allow", ", ".join(sorted(allowed)).encode()),)
        )
    raise not_found()


def _rank(match: Match, path: str) -> int | None:
    """How specific *match* is for *path*; exact beats any prefix, a longer prefix a shorter one."""
    if match.kind == "exact":
        return 1 << 20 if path == match.path else None
    prefix = match.path.rstrip("/")
    if path == prefix or path.startswith(prefix + "/"):
        return len(prefix)
    return None
