"""The resource and operations APIs as methods; the same over every transport.

Answers are the JSON as it came. An answer of 4xx or 5xx is raised: InvalidInput with every problem, NotFound, Failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from api.errors import InvalidInput, NotFound, Problem, Unavailable
from cli import kinds
from cli.errors import Failed, NoPlatform, Usage, did_you_mean
from cli.target import Local, Target
from cli.transport import Ask, LocalTransport, Reply, Service, Transport

PORTION = 200
"""Ids of one request: they stand in its line."""


def connect(target: Target, namespace: str) -> Client:
    """A client of *target*; nothing is sent yet."""
    if not isinstance(target, Local):  # target.resolve() answers nothing else in this release
        raise Unavailable(f"no transport to {target}")
    return Client(LocalTransport(target.run), namespace)


class Client:
    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport, self.namespace = transport, namespace

    # resources

    def apply(
        self,
        documents: Sequence[dict[str, Any]],
        *,
        dry_run: bool = False,
        project: str = "",
        prune: bool = False,
    ) -> list[dict[str, Any]]:
        """Apply all of *documents* or, when one does not hold, none."""
        body: dict[str, Any] = {"documents": list(documents), "dryRun": dry_run, "prune": prune}
        if project:
            body["project"] = project
        found: list[dict[str, Any]] = self._ask("controller", "POST", "/v1/apply", body=body)["results"]
        return found

    def items(
        self, kind: str, *, namespace: str | None = None, selector: str = "", everywhere: bool = False
    ) -> list[dict[str, Any]]:
        where = None if everywhere else namespace or self.namespace
        query = {"namespace": where, "labels": selector}
        found: list[dict[str, Any]] = self._ask("controller", "GET", f"/v1/resources/{kind}", query=query)["items"]
        return found

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._named(kind, name, "GET", self._resource(kind, name))
        return found

    def delete(self, kind: str, name: str) -> None:
        self._named(kind, name, "DELETE", self._resource(kind, name))

    def watch(
        self, *, since: str = "", logs: bool = False, everywhere: bool = False, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Happenings as they come; ends after *timeout* seconds without one, or with the platform."""
        query = {"namespace": None if everywhere else self.namespace, "since": since, "logs": logs}
        return self._open("controller", "GET", "/v1/watch", query=query, timeout=timeout).lines()

    def function(self, name: str) -> dict[str, Any]:
        """Status of one function: conditions, revisions, replicas, scaling, subscriptions."""
        found: dict[str, Any] = self._named("function", name, "GET", self._function(name, "status"))
        return found

    def logs(self, name: str, **query: object) -> Iterator[dict[str, Any]]:
        try:
            reply = self._open("controller", "GET", self._function(name, "logs"), query=query, timeout=None)
        except NotFound as error:
            raise self._nearest(error, "function", name) from error
        return reply.lines()

    def scale(self, name: str, **change: object) -> dict[str, Any]:
        body = {key: value for key, value in change.items() if value is not None}
        found: dict[str, Any] = self._named("function", name, "POST", self._function(name, "scale"), body=body)
        return found

    def rollback(self, name: str, revision: str | None, *, dry_run: bool) -> dict[str, Any]:
        body = {"revision": revision, "dryRun": dry_run}
        found: dict[str, Any] = self._named("function", name, "POST", self._function(name, "rollback"), body=body)
        return found

    def top(self) -> list[dict[str, Any]]:
        found = self._ask("controller", "GET", "/v1/top")
        return rows(found)

    def platform(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("controller", "GET", "/v1/platform")
        return found

    def secrets(self) -> list[dict[str, Any]]:
        found = self._ask("controller", "GET", "/v1/secrets", query={"namespace": self.namespace})
        return rows(found)

    def set_secret(self, name: str, key: str, value: str) -> None:
        body = {"namespace": self.namespace, "name": name, "key": key, "value": value}
        self._ask("controller", "POST", "/v1/secrets", body=body)

    def delete_secret(self, name: str, key: str | None) -> None:
        query = {"namespace": self.namespace, "name": name, "key": key}
        self._ask("controller", "DELETE", "/v1/secrets", query=query)

    # operations

    def publish(self, bus: str, subject: str, events: Sequence[dict[str, Any]]) -> int:
        """Publish structured events; answers how many the bus acknowledged: all of them, or this raises."""
        path = self._operation("buses", bus, "publish")
        found = self._ask("operations", "POST", path, query={"subject": subject}, body={"events": list(events)})
        return int(found["published"])

    def publish_through(self, source: str, message: dict[str, Any]) -> int:
        """Publish to the broker behind an event source: ``topic`` and ``payload`` or ``payload_base64``, ``count``."""
        path = self._operation("sources", source, "publish")
        away: Unavailable | None = None
        for proxy in range(self._transport.proxies()):  # one of them runs the source
            try:
                found = self._ask("operations", "POST", path, body=message, proxy=proxy)
            except NotFound as error:
                raise self._nearest(error, "eventsource", source) from error
            except Unavailable as error:
                away = away or error
            else:
                return int(found.get("published", message.get("count", 1)))
        raise away or NoPlatform("the platform does not run")

    def tail(self, bus: str, subject: str, *, condition: str, since: str) -> Iterator[dict[str, Any]]:
        query = {"subject": subject, "filter": condition, "since": since}
        return self._open("operations", "GET", self._operation("buses", bus, "tail"), query=query, timeout=None).lines()

    def dead_letters(self, trigger: str, **query: object) -> Iterator[dict[str, Any]]:
        return self._open("operations", "GET", self._operation("dead-letters", trigger), query=query).lines()

    def replay(self, trigger: str, ids: Sequence[str] | None) -> int:
        path = self._operation("dead-letters", trigger)
        return int(self._ask("operations", "POST", path, body={"ids": ids and list(ids)}, timeout=None)["count"])

    def purge(self, trigger: str, ids: Sequence[str] | None) -> int:
        path, count = self._operation("dead-letters", trigger), 0
        portions = [ids[at : at + PORTION] for at in range(0, len(ids), PORTION)] if ids else [None]
        for portion in portions:
            query = {"ids": ",".join(portion) if portion else None}
            count += int(self._ask("operations", "DELETE", path, query=query, timeout=None)["count"])
        return count

    # the wire

    def _resource(self, kind: str, name: str) -> str:
        return f"/v1/resources/{kind}/{quote(self.namespace, safe='')}/{quote(name, safe='')}"

    def _function(self, name: str, part: str) -> str:
        return f"/v1/functions/{quote(self.namespace, safe='')}/{quote(name, safe='')}/{part}"

    def _operation(self, *parts: str) -> str:
        return "/v1/namespaces/" + "/".join(quote(part, safe="") for part in (self.namespace, *parts))

    def _open(self, service: Service, method: str, path: str, **how: Any) -> Reply:
        reply = self._transport.open(Ask(service, method, path, **how))
        if reply.status >= 400:
            raise refusal(reply.status, reply.json())
        return reply

    def _ask(self, service: Service, method: str, path: str, **how: Any) -> Any:
        return self._open(service, method, path, **how).json()

    def _named(self, kind: str, name: str, method: str, path: str, **how: Any) -> Any:
        try:
            return self._ask("controller", method, path, **how)
        except NotFound as error:
            raise self._nearest(error, kind, name) from error

    def _nearest(self, error: NotFound, kind: str, name: str) -> NotFound:
        """*error* with the names that do exist in its hint."""
        names = [item["metadata"]["name"] for item in self.items(kind)]
        if name in names:
            return error
        otherwise = f"there is {', '.join(sorted(names)[:5])}" if names else f"see `evoke get {kinds.plural(kind)}`"
        message = f"no {kind} named '{name}' in namespace {self.namespace}"
        return NotFound(message, code=error.code or "E194", hint=did_you_mean(name, names, otherwise=otherwise))


def rows(body: Any) -> list[dict[str, Any]]:
    """The list in an answer that is one, or holds one under any name."""
    if isinstance(body, dict):
        body = next((value for value in body.values() if isinstance(value, list)), [])
    found: list[dict[str, Any]] = body
    return found


def refusal(status: int, body: Any) -> Exception:
    """The error that an answer of 4xx or 5xx stands for."""
    if problems := body.get("problems"):
        known = Problem.__struct_fields__
        return InvalidInput([Problem(**{k: v for k, v in one.items() if k in known}) for one in problems])
    said = body.get("error")
    error: dict[str, Any] = said if isinstance(said, dict) else {"message": str(said or f"HTTP {status}")}
    kind = {400: Usage, 404: NotFound, 503: Unavailable}.get(status, Failed)
    code = error.get("code") or {404: "E194", 503: "E191"}.get(status, "E195")
    return kind(error.get("message") or f"HTTP {status}", code=code, hint=error.get("hint", ""))
