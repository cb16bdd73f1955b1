"""Service invocation: from one app to a method of another, over whichever protocol that one speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from api.model import App
from api.statuses import number
from proxy.dapr.caller import Caller, identity
from proxy.dapr.calls import Calls, Reached, unreachable
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError
from proxy.dapr.invocation_headers import for_app, for_caller
from proxy.dapr.resilience import Failure
from replicas.apps.connect import Apps
from replicas.errors import AppFailed, ConnectFailed, ReplicaError, ReplyTimeout, ReplyTooLarge
from replicas.response import Response

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Content: TypeAlias = "bytes | AsyncIterator[bytes] | Once"

TRIES = 4
"""Replicas that are tried for one call while they refuse the connection: Dapr's built-in retries, 3 after the first."""
NO_ROOM = 0.05
"""Seconds for which a replica that said it has no room is left alone."""
NOT_STARTED = b"evoke-not-started"
LONGEST_METHOD = 2048
"""Bytes of a method's path."""
HTTP_OF = {
    "OK": 200,
    "CANCELLED": 408,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}
"""HTTP status for the status of a gRPC app (google.rpc.Code's mapping); others are 500."""


class Once:
    """A streamed body, and whether any of it left: then it cannot be sent again."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.touched = False

    async def each(self) -> AsyncIterator[bytes]:
        self.touched = True
        async for data in self._chunks:
            yield data


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One call. *method* is a path without its first slash, percent-encoded as it came; *query* without ``?``."""

    method: str
    verb: str
    headers: Headers = ()
    """Names in lower case."""
    query: str = ""
    body: Content = b""


class Answered:
    """An app's answer: status and header lines at once, the body as it comes. Read or close it."""

    def __init__(self, status: int, headers: Headers, body: Response | bytes, stack: AsyncExitStack) -> None:
        self.status, self.headers = status, headers
        self.failure: AppFailed | None = None
        """Of a gRPC app: the status that it ended with."""
        self._body, self._stack = body, stack

    @property
    def complete(self) -> bool:
        """Whether the last byte of the body has come."""
        return isinstance(self._body, bytes) or self._body.complete

    async def read(self, limit: int) -> bytes:
        """The whole body; raises DaprError above *limit* bytes or when it breaks off."""
        async with self:
            if isinstance(self._body, bytes):
                return self._body
            try:
                return await self._body.read(limit)
            except ReplyTooLarge as error:
                raise DaprError(500, "RESOURCE_EXHAUSTED", "ERR_DIRECT_INVOKE", str(error)) from error
            except ReplicaError as error:
                raise DaprError(500, "INTERNAL", "ERR_DIRECT_INVOKE", f"the answer broke off: {error}") from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises ReplicaError when it breaks off."""
        if isinstance(self._body, bytes):
            if self._body:
                yield self._body
            return
        async for data in self._body.stream():
            yield data

    async def close(self) -> None:
        """Give the rest up; may be called again."""
        if isinstance(self._body, Response):
            await self._body.close()
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def fault(answered: Answered) -> Failure | None:
    """An answer that counts as a failure for policies: any status that is no success and no redirect."""
    if answered.failure is not None:
        return Failure(grpc=number(answered.failure.status))
    return None if answered.status < 400 else Failure(http=answered.status)


class Invoker:
    """Finds the app, a replica of it, and carries the call there."""

    def __init__(self, directory: Directory, calls: Calls, apps: Apps, token: Callable[[App], str]) -> None:
        """*token*: what an app expects of its callers; empty: nothing."""
        self._directory, self._calls, self._apps, self._token = directory, calls, apps, token

    def target(self, caller: Caller, app_id: str) -> App:
        """The app that *caller* means; raises DaprError. Other namespaces are nobody's to call."""
        if not app_id:
            message = "failed getting app id either from the URL path or the header dapr-app-id"
            raise DaprError(404, "NOT_FOUND", "ERR_DIRECT_INVOKE", message)
        if "/" in app_id or len(app_id) > 253 or not app_id.isprintable():
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_DIRECT_INVOKE", f"{app_id[:40]!r} is no app id")
        app = self._directory.named(caller.namespace, app_id)
        name, dot, namespace = app_id.rpartition(".")
        if app is None and dot and namespace == caller.namespace:
            app = self._directory.named(caller.namespace, name)
        if app is None and dot and namespace != caller.namespace:
            message = (
                f"failed to invoke, id: {app_id}, err: access to other namespaces than {caller.namespace} is denied"
            )
            raise DaprError(403, "PERMISSION_DENIED", "ERR_DIRECT_INVOKE", message)
        if app is None:
            raise unreachable(app_id, f"there is no app of that id in namespace {caller.namespace}", grpc="INTERNAL")
        return app

    async def invoke(self, caller: Caller, app: App, call: Invocation) -> Answered:
        """Carry *call* to a replica of *app*; it goes to another one only while it is known not to have started."""
        if len(call.method) > LONGEST_METHOD:
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_DIRECT_INVOKE", "invalid method name: it is too long")
        if not isinstance(call.body, bytes | Once):
            call = msgspec.structs.replace(call, body=Once(call.body))
        refused = ""
        for tried in range(TRIES):
            stack = AsyncExitStack()
            try:
                reached = await stack.enter_async_context(self._calls.reach(app, first=not tried))
                answered = await self._once(caller, app, call, reached, stack)
            except ConnectFailed as error:
                refused = str(error)
                self._calls.strike(reached)
                await stack.aclose()
            except BaseException:
                await stack.aclose()
                raise
            else:
                if answered is not None:
                    return answered
                refused = "its replicas have no room"
                await stack.aclose()
            if isinstance(call.body, Once) and call.body.touched:
                break  # what left of the body cannot be sent again
        raise unreachable(app.id, refused, status=503)

    async def _once(
        self, caller: Caller, app: App, call: Invocation, reached: Reached, stack: AsyncExitStack
    ) -> Answered | None:
        """None: the replica had no room and did not start it. Raises ConnectFailed where it was not reached."""
        seconds = self._seconds(app)
        try:
            if reached.lease.endpoint.protocol == "grpc":
                return await self._over_grpc(caller, app, call, reached, stack, seconds)
            return await self._over_http(caller, app, call, reached, stack, seconds)
        except ConnectFailed:
            raise
        except ReplyTimeout as error:
            message = f"it did not answer within {seconds:g} s"
            raise unreachable(app.id, message, status=504, grpc="DEADLINE_EXCEEDED") from error
        except ReplicaError as error:
            raise unreachable(app.id, str(error), grpc="INTERNAL") from error

    async def _over_http(
        self, caller: Caller, app: App, call: Invocation, reached: Reached, stack: AsyncExitStack, seconds: float
    ) -> Answered | None:
        client = self._apps.http(reached.lease.endpoint.address, self._token(app))
        target = b"/" + call.method.encode("latin-1") + (b"?" + call.query.encode("latin-1") if call.query else b"")
        headers = for_app(call.headers, caller=identity(caller.app), namespace=caller.namespace, callee=app.id)
        body = call.body.each() if isinstance(call.body, Once) else call.body
        response = await client.invoke(call.verb, target, headers, body, seconds)
        if response.status == 503 and response.header(NOT_STARTED) is not None:
            await response.close()
            self._calls.strike(reached, NO_ROOM)
            return None
        reached.failed = response.status >= 500
        return Answered(response.status, for_caller(response.headers), response, stack)

    async def _over_grpc(
        self, caller: Caller, app: App, call: Invocation, reached: Reached, stack: AsyncExitStack, seconds: float
    ) -> Answered:
        client = self._apps.grpc(reached.lease.endpoint.address, self._token(app))
        data = await _whole(call.body, app.max_body)
        headers = for_app(call.headers, caller=identity(caller.app), namespace=caller.namespace, callee=app.id)
        metadata = {name.decode(): value.decode("latin-1") for name, value in headers if name != b"content-type"}
        content_type = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
        try:
            told = await client.invoke(call.method, call.verb, call.query, content_type, data, metadata, seconds)
        except AppFailed as error:
            return _failed(error, reached, stack)
        lines = [(name.encode(), value.encode()) for name, value in told.headers if not name.startswith("grpc-")]
        if told.content_type:
            lines = [(b"content-type", told.content_type.encode()), *lines]
        await stack.aclose()
        return Answered(200, for_caller(lines), told.data, stack)

    def _seconds(self, app: App) -> float:
        route = self._directory.route(app.key)
        return route.timeout.total_seconds() if route is not None else 60.0


def _failed(error: AppFailed, reached: Reached, stack: AsyncExitStack) -> Answered:
    status = HTTP_OF.get(error.status, 500)
    reached.failed = status >= 500
    body = msgspec.json.encode({"code": error.status, "message": error.details})
    answered = Answered(status, [(b"content-type", b"application/json")], body, stack)
    answered.failure = error
    return answered


async def _whole(body: Content, limit: int) -> bytes:
    """A body that must go in one message; raises DaprError above *limit* bytes."""
    if isinstance(body, bytes):
        return body
    parts: list[bytes] = []
    size = 0
    async for data in body.each() if isinstance(body, Once) else body:
        size += len(data)
        if size > limit:
            raise DaprError(413, "RESOURCE_EXHAUSTED", "ERR_BODY_TOO_LARGE", f"the body has more than {limit} bytes")
        parts.append(data)
    return b"".join(parts)
