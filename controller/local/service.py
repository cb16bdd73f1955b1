"""The resource API of one machine on ``RUN/controller.sock``: JSON over HTTP, streams as NDJSON."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from api.actions import SetReplicas
from api.errors import InvalidInput, NotFound, Problem
from api.happenings import Happening
from api.meta import Key
from api.platform import Platform
from controller import authority
from controller.errors import Conflict
from controller.local import logs
from controller.local.asgi import Stream, body, route, router
from controller.local.buses import with_default
from controller.local.feed import Feed
from controller.local.functions import Functions
from controller.local.paths import Paths
from controller.local.resources import Resources, as_json, named
from controller.local.revisions import Revisions
from controller.local.secrets import Secrets
from controller.local.sqlite import SqliteStore
from controller.local.substrate import LocalSubstrate
from controller.revisions import ROLLBACK, of, rollback_mark
from replicas.asgi import Request
from replicas.server import ControlServer


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the API stands on."""

    paths: Paths
    platform: Platform
    version: str
    epoch: int
    started: datetime
    store: SqliteStore
    resources: Resources
    revisions: Revisions
    substrate: LocalSubstrate
    secrets: Secrets
    functions: Functions
    control: ControlServer
    feed: Feed
    wake: Callable[[], None]


class Service:
    """The handlers; :attr:`app` is the ASGI application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.app = router()
        for method, pattern, handler in (
            ("POST", "/v1/apply", self._apply),
            ("GET", "/v1/resources/{kind}", self._list),
            ("GET", "/v1/resources/{kind}/{namespace}/{name}", self._get),
            ("DELETE", "/v1/resources/{kind}/{namespace}/{name}", self._delete),
            ("GET", "/v1/watch", self._watch),
            ("GET", "/v1/functions/{namespace}/{name}/logs", self._logs),
            ("GET", "/v1/functions/{namespace}/{name}/status", self._status),
            ("POST", "/v1/functions/{namespace}/{name}/scale", self._scale),
            ("POST", "/v1/functions/{namespace}/{name}/rollback", self._rollback),
            ("GET", "/v1/top", self._top),
            ("GET", "/v1/platform", self._platform),
            ("GET", "/v1/secrets", self._secrets),
            ("POST", "/v1/secrets", self._put_secret),
            ("DELETE", "/v1/secrets", self._delete_secret),
        ):
            route(self.app, method, pattern, handler)

    async def _apply(self, request: Request) -> Any:
        return {"results": await self._parts.resources.apply(body(request), _now())}

    async def _list(self, request: Request) -> Any:
        kind, namespace = request.params["kind"], request.query.get("namespace") or None
        labels = request.query.get("labels", "")
        items = self._parts.resources.select(kind, namespace, labels)
        if not labels and (kind == "all" or named(kind).kind == "EventBus"):
            spaces = {namespace} if namespace else {item["metadata"]["namespace"] for item in items} | {"default"}
            items = with_default(items, spaces - {""}, self._bus_readings(), self._parts.started)
        return {"items": items}

    async def _get(self, request: Request) -> Any:
        kind, key = request.params["kind"], _key(request)
        try:
            return as_json(self._parts.resources.get(kind, key))
        except NotFound:
            if named(kind).kind == "EventBus" and key.name == "default":
                return with_default([], [key.namespace], self._bus_readings(), self._parts.started)[0]
            raise

    async def _delete(self, request: Request) -> Any:
        stored = self._parts.resources.delete(request.params["kind"], _key(request))
        self._parts.feed.post(stored.key, "removed", "deleted", kind=stored.kind.lower())
        return {"kind": stored.kind, "namespace": stored.key.namespace, "name": stored.key.name, "outcome": "deleted"}

    async def _status(self, request: Request) -> Any:
        return await self._parts.functions.status(self._parts.store.get("Function", _key(request)))

    async def _top(self, request: Request) -> Any:
        return self._parts.functions.top(
            self._parts.store.select(kind="Function", namespace=request.query.get("namespace") or None)
        )

    async def _scale(self, request: Request) -> Any:
        asked, function = body(request), _key(request)
        changes: dict[str, str | None] = {}
        for name, annotation in (("min", authority.MIN), ("max", authority.MAX)):
            if asked.get(name) is not None:
                changes[annotation] = str(_count(asked[name], name))
        if asked.get("pause") is not None and asked["pause"] is not False:
            changes[authority.PAUSED] = "true" if asked["pause"] is True else str(_count(asked["pause"], "pause"))
        if asked.get("resume"):
            changes[authority.PAUSED] = None
        stored = self._parts.resources.annotate(function, changes, _now())
        if asked.get("wake"):
            await self._awaken(function)
        bounds = {name: _int(stored.annotations.get(key)) for name, key in _BOUNDS if key in stored.annotations}
        return {**stored.status.get("scaling", {}), **bounds, "paused": stored.annotations.get(authority.PAUSED)}

    async def _awaken(self, function: Key) -> None:
        revision = self._parts.functions.wakes(function)
        if revision is None:
            raise Conflict(
                f"function {function.name} has no revision that can start",
                hint=f"evoke describe function {function.name}",
            )
        record = self._parts.revisions.get(revision)
        wanted = max(record.wanted if record else 0, 1)
        await self._parts.substrate.execute(SetReplicas(revision=revision, replicas=wanted, because="woken by hand"))

    async def _rollback(self, request: Request) -> Any:
        asked, function = body(request), _key(request)
        stored = self._parts.store.get("Function", function)
        known = of(function, self._parts.revisions.states())
        names = [state.key.revision for state in known]
        to = str(asked.get("revision") or "") or (names[-2] if len(names) > 1 else "")
        to = to.rpartition("-")[2].zfill(5) if to else ""
        if to not in names:
            raise NotFound(
                f"function {function.name} has no revision {to or 'before this one'}",
                hint=f"there are {', '.join(names)}" if names else "",
            )
        if not asked.get("dryRun"):
            mark = rollback_mark(to, known, stored.annotations)
            self._parts.resources.annotate(function, {ROLLBACK: mark}, _now())
        return {"revision": to, "from": names[-1], "dryRun": bool(asked.get("dryRun"))}

    async def _platform(self, _: Request) -> Any:
        parts, here = self._parts, self._parts.platform
        return {
            "http": here.http,
            "mqtt": here.mqtt,
            "nats": here.nats,
            "dapr": here.dapr,
            "version": parts.version,
            "state": str(parts.paths.state),
            "run": str(parts.paths.run),
            "pid": os.getpid(),
            "epoch": parts.epoch,
            "started": parts.started,
            "agents": {name: agent.role for name, agent in parts.control.agents.items()},
            "processes": _children(parts.paths.run / "children.json"),
        }

    async def _secrets(self, request: Request) -> Any:
        names = self._parts.secrets.names(request.query.get("namespace") or None)
        keys = [(Key.parse(name), sorted(found)) for name, found in sorted(names.items())]
        return {"items": [{"namespace": key.namespace, "name": key.name, "keys": found} for key, found in keys]}

    async def _put_secret(self, request: Request) -> Any:
        given = body(request, dict[str, str])
        secret = Key(given.get("namespace") or "default", given.get("name", ""))
        self._parts.secrets.put(secret, given.get("key", ""), given.get("value", "").encode())
        self._parts.wake()
        return {"namespace": secret.namespace, "name": secret.name, "key": given.get("key", "")}

    async def _delete_secret(self, request: Request) -> Any:
        query = request.query
        secret = Key(query.get("namespace") or "default", query.get("name", ""))
        self._parts.secrets.delete(secret, query.get("key") or None)
        self._parts.wake()
        return {"namespace": secret.namespace, "name": secret.name}

    async def _logs(self, request: Request) -> Any:
        function, query = _key(request), _query(request)
        folder = self._parts.paths.function_logs(function)
        if not folder.is_dir():
            self._parts.store.get("Function", function)
        if request.flag("build"):
            return Stream(_each(logs.plain(self._parts.paths.build_log(function))))
        living = self._parts.functions.living(function)
        if request.flag("follow"):
            return Stream(logs.follow(folder, query, past=lambda: logs.read(folder, query, living)))
        return Stream(_each(logs.read(folder, query, living)))

    async def _watch(self, request: Request) -> Any:
        namespace = request.query.get("namespace") or None
        since = logs.parse_since(request.query.get("since", ""), _now())
        return Stream(self._happenings(namespace, since, with_logs=request.flag("logs")))

    async def _happenings(
        self, namespace: str | None, since: datetime | None, *, with_logs: bool
    ) -> AsyncIterator[Any]:
        with self._parts.feed.watching() as queue:
            folder = self._parts.paths.state / "logs" / "functions" / (namespace or "")
            following = asyncio.create_task(_pour(folder, queue)) if with_logs else None
            try:
                for one in self._parts.feed.past(namespace) if since else ():
                    if since is None or one.at >= since:
                        yield one
                while True:
                    one = await queue.get()
                    if namespace in {None, one.namespace} or not one.namespace:
                        yield one
            finally:
                if following is not None:
                    following.cancel()

    def _bus_readings(self) -> list[Any]:
        agents = self._parts.control.agents.values()
        return [one for agent in agents for one in (agent.readings.buses if agent.readings else ())]


_BOUNDS = (("min", authority.MIN), ("max", authority.MAX))


async def _pour(folder: Path, queue: asyncio.Queue[Happening]) -> None:
    """New log lines as happenings."""
    tail = logs.Tail(folder, from_end=True)
    while True:
        for line in tail.poll():
            function = Key(line["namespace"], line["function"])
            await queue.put(
                Happening(
                    at=logs.moment(line),
                    namespace=function.namespace,
                    resource=f"function/{function.name}",
                    type="log",
                    message=str(line["message"]),
                    data=line,
                )
            )
        await asyncio.sleep(logs.POLL)


async def _each(lines: list[dict[str, Any]]) -> AsyncIterator[Any]:
    for line in lines:
        yield line


def _key(request: Request) -> Key:
    return Key(request.params["namespace"], request.params["name"])


def _query(request: Request) -> logs.Query:
    query = request.query
    return logs.Query(
        since=logs.parse_since(query.get("since", ""), _now()),
        tail=_int(query.get("tail")),
        revision=query.get("revision", "").rpartition("-")[2],
        call=query.get("call", ""),
        previous=request.flag("previous"),
    )


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _count(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1000:
        return value
    raise InvalidInput([Problem(code="E113", path=name, message=f"`{value}` is not a count of replicas, 0 to 1000")])


def _children(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}


def _now() -> datetime:
    return datetime.now(UTC)
