"""One running HTTP app: the requests that Dapr's runtime makes to it.

Source: dapr/pkg/channel/http and dapr/pkg/runtime/subscription/postman/http. A path without a leading slash gets one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from urllib.parse import quote

from api.model import AppSubscription
from replicas.apps import declarations
from replicas.apps.client import ASK, AppConfig, BadDeclaration, Reply
from replicas.errors import ReplicaError, ReplyTooLarge
from replicas.http import HttpClient
from replicas.response import Response

MAX_REPLY = 1 << 20
"""Bytes of an answer that says something to us."""
TOKEN = b"dapr-api-token"

Header = tuple[bytes, bytes]

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(
    {
        *("connection", "content-length", "content-type", "dapr-api-token", "host", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that metadata may not set: framing, the connection's own, and the app's token."""


def path_of(path: str) -> bytes:
    """*path* as a request target; what may not stand there is percent-encoded."""
    return quote(path if path.startswith("/") else f"/{path}", safe="/%?=&;:@!$'()*+,~-._").encode()


def headers_of(metadata: Mapping[str, str]) -> list[Header]:
    """*metadata* as header lines; names that are none, and those that are ours, are left out."""
    return [
        (name.lower().encode(), _UNSEEN.sub(" ", value).strip().encode())
        for name, value in metadata.items()
        if _NAME.fullmatch(name) and name.lower() not in _OURS
    ]


class HttpApp:
    def __init__(self, http: HttpClient, address: str, token: str = "") -> None:
        """*token*: what the app expects in ``dapr-api-token``; empty: nothing."""
        self._http, self.address = http, address
        self._token: list[Header] = [(TOKEN, token.encode())] if token else []

    async def config(self, timeout: float = ASK) -> AppConfig:  # noqa: ASYNC109 - how long the app may take
        reply = await self._ask("GET", "/dapr/config", timeout)
        return declarations.config_of(reply.body) if reply.status == 200 else AppConfig()

    async def subscriptions(self, timeout: float = ASK) -> tuple[AppSubscription, ...]:  # noqa: ASYNC109 - as above
        """None where the app has no such page, or does not show it; raises BadDeclaration."""
        reply = await self._ask("GET", "/dapr/subscribe", timeout)
        if reply.status == 200:
            return declarations.of_json(reply.body)
        if 300 <= reply.status < 500:  # 404 as a rule; some ask for a login at every path that they do not know
            return ()
        raise BadDeclaration(f"/dapr/subscribe answers HTTP {reply.status}, expected 200 with a list, or 404")

    async def takes_binding(self, name: str, path: str = "", timeout: float = ASK) -> bool:  # noqa: ASYNC109 - as above
        """Whether it answers OPTIONS where events of *name* would go: any 2xx, or 405 of a server without OPTIONS."""
        reply = await self._ask("OPTIONS", path or name, timeout)
        return 200 <= reply.status < 300 or reply.status == 405

    async def healthy(self, path: str, timeout: float) -> bool:  # noqa: ASYNC109 - as above
        try:
            response = await self._http.request(self.address, "GET", path_of(path), self._token, timeout=timeout)
            await response.close()  # the status says it all
        except ReplicaError:
            return False
        return 200 <= response.status < 300

    async def post(
        self,
        target: bytes,
        headers: Sequence[Header],
        body: bytes,
        timeout: float,  # noqa: ASYNC109 - as above
    ) -> Reply:
        """Hand one message over; *target* is of path_of(). A longer answer than one that says something is cut off, and
        its body left out."""
        response = await self._http.request(
            self.address, "POST", target, [*headers, *self._token], body, timeout=timeout
        )
        try:
            said = await response.read(MAX_REPLY)
        except ReplyTooLarge:
            said = b""
        return Reply(response.status, dict(response.headers), said)

    async def invoke(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | AsyncIterator[bytes],
        timeout: float | None,  # noqa: ASYNC109 - as above
    ) -> Response:
        """Send any request; the reply comes as it is, its body as a stream."""
        return await self._http.request(self.address, method, target, [*headers, *self._token], body, timeout=timeout)

    async def aclose(self) -> None:
        """Nothing: connections are the HttpClient's."""

    async def _ask(self, method: str, path: str, timeout: float) -> Reply:  # noqa: ASYNC109 - as above
        headers = [(b"content-type", b"application/json"), *self._token]
        response = await self._http.request(self.address, method, path_of(path), headers, timeout=timeout)
        return Reply(response.status, dict(response.headers), await response.read(MAX_REPLY))
