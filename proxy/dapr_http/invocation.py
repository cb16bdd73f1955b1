"""Service invocation over HTTP: the three ways to name the app, bodies both ways as they come."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import unquote

from proxy.dapr.errors import DaprError, malformed
from proxy.dapr.invocation import Answered, Content
from proxy.dapr.invocation_headers import names_app
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.call import Call, Streamed
from proxy.dapr_http.paths import Parsed

WHOLE = 64 << 10
"""A body up to this length is read before a replica is picked, so that it may be sent to another one."""
_REFUSED = frozenset({"CONNECT", "TRACE"})


def named(call: Call, parsed: Parsed) -> tuple[str, str]:
    """App id and method, percent-encoded, of a path outside of the API's others: header ``dapr-app-id``, the user of
    Basic credentials, or ``/v1.0/invoke/<app id>/method/<method>``. Both empty: it names none."""
    ids = [value for name, value in call.lines if name == b"dapr-app-id"]
    if len(ids) > 1:
        raise malformed("header dapr-app-id stands twice")
    if ids:
        return ids[0].decode("latin-1"), call.path
    credentials = call.header(b"authorization")
    if credentials and (app_id := names_app(credentials.encode("latin-1"))):
        return app_id, call.path
    rest = parsed.rest
    if parsed.block == "invoke" and parsed.version == "v1.0" and len(rest) > 2 and rest[1] == "method":
        return unquote(rest[0]), "/".join(rest[2:])
    return "", ""


class InvocationApi:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def invoke(self, call: Call, app_id: str, method: str) -> Streamed:
        if call.method in _REFUSED:
            raise DaprError(405, "INVALID_ARGUMENT", "ERR_METHOD", f"method {call.method} is not passed on")
        length = call.header(b"content-length")
        body: Content
        if call.header(b"transfer-encoding") or (length.isdigit() and int(length) > WHOLE):
            call.check_length()
            body = call.stream()
        else:
            body = await call.body()
        answered = await self._unless_left(call, app_id, method, body)
        left = call.left if isinstance(body, bytes) and not answered.complete else None
        return Streamed(_status(answered.status), _sized(answered), answered.chunks(), answered.close, left)

    async def _unless_left(self, call: Call, app_id: str, method: str, body: Content) -> Answered:
        """Carry the call; when the client leaves while it waits, nobody needs it any more."""
        work = self._runtime.invoke(call.caller, app_id, method, call.method, call.lines, call.query_string, body)
        if not isinstance(body, bytes):
            return await work  # whoever reads the body sees the client leave
        going, leaving = asyncio.ensure_future(work), asyncio.ensure_future(call.left())
        try:
            await asyncio.wait({going, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if going.done():
                return going.result()
            raise DaprError(499, "CANCELLED", "ERR_DIRECT_INVOKE", "the client left")
        finally:
            leaving.cancel()
            if not going.done():
                going.cancel()
                with contextlib.suppress(asyncio.CancelledError, DaprError):
                    await (await going).close()


def _status(status: int) -> int:
    return status if 200 <= status < 600 else 502


def _sized(answered: Answered) -> list[tuple[bytes, bytes]]:
    """The answer's header lines; a length where no body may follow is left out."""
    if answered.status in {204, 304}:
        return [(name, value) for name, value in answered.headers if name != b"content-length"]
    return list(answered.headers)
