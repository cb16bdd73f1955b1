"""The HTTP API as one ASGI application: who calls, which part is meant, and what errors look like."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from api.meta import Key
from proxy.dapr.api_rules import require
from proxy.dapr.caller import Caller
from proxy.dapr.crowd import Held
from proxy.dapr.errors import DaprError, unauthenticated, unimplemented
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.about import AboutApi
from proxy.dapr_http.call import Call, Reply, Streamed
from proxy.dapr_http.components import ComponentApi
from proxy.dapr_http.invocation import InvocationApi, named
from proxy.dapr_http.paths import Parsed, Shape, match, parse
from proxy.dapr_http.publishing import Publishing
from proxy.dapr_http.states import StateApi
from proxy.dapr_http.trace import context
from proxy.hops import echoed
from replicas.asgi import Receive, Scope, Send
from replicas.errors import ReplicaError

log = logging.getLogger(__name__)

Answer: TypeAlias = Reply | Streamed
Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
Row: TypeAlias = tuple[frozenset[str], Shape, Handler]

GET, PUT, DELETE, POST = frozenset({"GET"}), frozenset({"PUT"}), frozenset({"DELETE"}), frozenset({"POST"})
SAVE = frozenset({"POST", "PUT"})
LATER = frozenset(
    {
        *("actors", "workflows", "crypto", "subtlecrypto", "conversation", "jobs", "lock", "unlock", "schedule"),
        *("search", "vector", "binarystore", "mcp"),
    }
)
"""Parts of Dapr's API that this runtime does not have."""


class DaprHttp:
    """``scope["state"]["own"]`` is the function that a listener belongs to; absent: it is everybody's."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._about = AboutApi(runtime)
        self._invocation = InvocationApi(runtime)
        self._table = _table(runtime, self._about)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        held = self._runtime.held()
        try:
            answer = await self._answer(scope, receive, held)
        except DaprError as error:
            answer = refusal(error)
        finally:
            held.release()
        if isinstance(answer, Streamed):
            await _stream(answer, send)
        else:
            await _reply(answer, send)

    async def _answer(self, scope: Scope, receive: Receive, held: Held) -> Answer:
        state = scope.get("state") or {}
        if state.get("too_long"):
            message = "the header lines of the request, or its path, are too long"
            raise DaprError(431, "RESOURCE_EXHAUSTED", "ERR_HEADERS_TOO_LARGE", message)
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        call = Call(scope["method"], path, query, scope["headers"], receive, held.add)
        parsed = parse(path)
        own: Key | None = state.get("own")
        if parsed.block == "healthz" and parsed.version == "v1.0" and call.method == "GET":
            return self._healthz(call, parsed, own)
        caller = call.caller = self._caller(call, own)
        held.of(caller.app.key)
        rows = self._table.get((parsed.version, parsed.block))
        if rows is None:
            return await self._outside(call, parsed)
        require(caller.app, "http", parsed.version, parsed.block)
        handler = _find(rows, call, parsed)
        with self._runtime.admit(caller.app):
            return await handler(call)

    def _healthz(self, call: Call, parsed: Parsed, own: Key | None) -> Answer:
        """Health is everybody's to ask, with or without a token."""
        if parsed.rest == ("outbound",):
            return self._about.outbound()
        if parsed.rest:
            raise unknown(call.path)
        try:
            call.caller = self._caller(call, own)
        except DaprError:
            return self._about.healthy(call, known=False)
        return self._about.healthy(call, known=True)

    def _caller(self, call: Call, own: Key | None) -> Caller:
        tokens, hops = [], b""
        for name, value in call.lines:
            if name == b"dapr-api-token":
                tokens.append(value)
            elif name == b"evoke-hops":
                hops = value
        if len(tokens) > 1:
            raise unauthenticated()
        app = self._runtime.caller(tokens[0].decode("latin-1") if tokens else "", own)
        traceparent, tracestate = context(call.lines)
        return Caller(app, traceparent, tracestate, echoed(hops))

    async def _outside(self, call: Call, parsed: Parsed) -> Answer:
        """A path that is no other part of the API: a call of an app, or nothing."""
        if parsed.version and parsed.block in LATER:
            raise unimplemented(parsed.block)
        app_id, method = named(call, parsed)
        if not app_id and parsed.block != "invoke":
            raise unknown(call.path)
        require(call.caller.app, "http", "v1.0", "invoke")
        with self._runtime.admit(call.caller.app):
            return await self._invocation.invoke(call, app_id, method)


def _table(runtime: Runtime, about: AboutApi) -> dict[tuple[str, str], list[Row]]:
    publishing, states, components = Publishing(runtime), StateApi(runtime), ComponentApi(runtime)
    bulk: list[Row] = [
        (SAVE, ("=bulk", "pubsub", "*topic"), publishing.publish_bulk),
        (SAVE, ("=bulk", "pubsub"), publishing.publish_bulk),
    ]
    configuration: list[Row] = [
        (GET, ("store",), components.configuration),
        (GET, ("store", "=subscribe"), components.subscribe_configuration),
        (GET, ("store", "id", "=unsubscribe"), components.unsubscribe_configuration),
    ]
    return {
        ("v1.0", "publish"): [
            *bulk,
            (SAVE, ("pubsub", "*topic"), publishing.publish),
            (SAVE, ("pubsub",), publishing.publish),
        ],
        ("v1.0-alpha1", "publish"): bulk,
        ("v1.0", "bindings"): [(SAVE, ("name",), components.invoke_binding)],
        ("v1.0", "state"): [
            (SAVE, ("store",), states.save),
            (SAVE, ("store", "=bulk"), states.get_bulk),
            (SAVE, ("store", "=transaction"), states.transact),
            (GET, ("store", "key"), states.get),
            (DELETE, ("store", "key"), states.delete),
        ],
        ("v1.0-alpha1", "state"): [(SAVE, ("store", "=query"), _query)],
        ("v1.0", "secrets"): [
            (GET, ("store", "=bulk"), components.secrets),
            (GET, ("store", "key"), components.secret),
        ],
        ("v1.0", "configuration"): configuration,
        ("v1.0-alpha1", "configuration"): configuration,
        ("v1.0", "metadata"): [(GET, (), about.metadata), (PUT, ("key",), about.set_metadata)],
        ("v1.0", "shutdown"): [(POST, (), about.shutdown)],
    }


async def _query(call: Call) -> Answer:
    raise unimplemented(f"querying state ({call.path})")


def _find(rows: list[Row], call: Call, parsed: Parsed) -> Handler:
    """The handler, its parameters set; raises DaprError 404 or 405."""
    allowed: set[str] = set()
    for methods, shape, handler in rows:
        params = match(shape, parsed.rest)
        if params is None:
            continue
        if call.method in methods:
            call.params = params
            return handler
        allowed |= methods
    if allowed:
        message = f"method {call.method} is not allowed here, expected {' or '.join(sorted(allowed))}"
        raise DaprError(405, "UNIMPLEMENTED", "ERR_METHOD", message)
    raise unknown(call.path)


def unknown(path: str) -> DaprError:
    return DaprError(404, "NOT_FOUND", "ERR_NOT_FOUND", f"{path[:200]} is not part of Dapr's API")


def refusal(error: DaprError) -> Reply:
    """Dapr's error body."""
    body: dict[str, Any] = {"errorCode": error.code, "message": error.message}
    if details := error.details():
        body["details"] = details
    headers = [(b"retry-after", b"%d" % error.retry_after)] if error.retry_after else []
    return Reply(error.status, msgspec.json.encode(body), headers=headers)


async def _reply(reply: Reply, send: Send) -> None:
    headers = list(reply.headers)
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    if reply.body:
        headers.append((b"content-type", reply.content_type.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _stream(answer: Streamed, send: Send) -> None:
    """Pass an answer on as it comes, until its end or until the client leaves."""
    if answer.left is None:
        await _pump(answer, send)
        return
    pumping, leaving = asyncio.ensure_future(_pump(answer, send)), asyncio.ensure_future(answer.left())
    try:
        await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (pumping, leaving):
            task.cancel()
        await asyncio.gather(pumping, leaving, return_exceptions=True)
    if not pumping.cancelled():
        pumping.result()


async def _pump(answer: Streamed, send: Send) -> None:
    """One that breaks off must not look whole: the server closes a connection whose answer is not complete."""
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        async for data in answer.chunks:
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except (ReplicaError, DaprError) as error:
        log.info("the answer of an app broke off: %s", error)
        return
    finally:
        await answer.close()
    await send({"type": "http.response.body", "body": b""})
