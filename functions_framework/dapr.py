"""A tiny client of Dapr's HTTP API: publish, bulk publish, bindings; keep-alive connections to one address.

Source of the protocol: Dapr's HTTP API, /v1.0/publish, /v1.0/publish/bulk, /v1.0/bindings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httptools
import msgspec

from functions_framework.exceptions import FunctionsFrameworkException

MAX_REPLY = 1 << 20
TIMEOUT = 30.0
"""Seconds for one call without a deadline."""
OLDER_BULK = "/v1.0-alpha1/publish/bulk"


class PublishFailed(FunctionsFrameworkException):
    """An output was not accepted; the attempt that made it counts as failed."""


class Message(msgspec.Struct, frozen=True):
    """What goes to a topic."""

    body: bytes
    content_type: str
    metadata: Mapping[str, str] | None = None


class _Connection(asyncio.Protocol):
    """One request at a time; *reply* is (status, body)."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reply: asyncio.Future[tuple[int, bytes]] | None = None
        self.reusable = True
        self._parser: Any = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # stream connections give a Transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(exc or ConnectionResetError("connection closed before the reply"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.connection_lost(ConnectionError(f"reply is not HTTP: {error}"))

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > MAX_REPLY:
            self.connection_lost(ConnectionError("reply is larger than 1 MiB"))
            return
        self._body += body

    def on_message_complete(self) -> None:
        self.reusable = self.reusable and self._parser.should_keep_alive()
        if self.reply is not None and not self.reply.done():
            self.reply.set_result((self._parser.get_status_code(), bytes(self._body)))

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._body.clear()
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(TIMEOUT):
            return await self.reply


class DaprClient:
    """Calls the Dapr API that the platform, or a daprd, offers to this function."""

    def __init__(self, *, socket: str = "", endpoint: str = "", token: str = "") -> None:
        self._socket = socket
        parts = urlsplit(endpoint or "http://127.0.0.1:3500")
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = parts.scheme == "https"
        self._token = token
        self._idle: list[_Connection] = []
        self._bulk = "/v1.0/publish/bulk"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> DaprClient:
        """Client for the address in the environment: our socket, Dapr's endpoint, or daprd's port."""
        endpoint = environ.get("DAPR_HTTP_ENDPOINT") or f"http://127.0.0.1:{environ.get('DAPR_HTTP_PORT') or 3500}"
        token = environ.get("DAPR_API_TOKEN", "")
        return cls(socket=environ.get("EVOKE_DAPR_SOCKET", ""), endpoint=endpoint, token=token)

    async def publish(self, component: str, topic: str, message: Message) -> None:
        """Publish one message.

        Raises:
            PublishFailed: it was not acknowledged.
        """
        query = urlencode({f"metadata.{k}": v for k, v in (message.metadata or {}).items()})
        target = f"/v1.0/publish/{quote(component, safe='')}/{quote(topic, safe='/')}" + (f"?{query}" if query else "")
        status, body = await self._call(target, message.content_type, message.body)
        if status >= 300:
            raise PublishFailed(f"publish to {component}/{topic}: {status} {_reason(body)}")

    async def publish_bulk(self, component: str, topic: str, messages: Sequence[Message]) -> dict[int, str]:
        """Publish many; return index -> error of those that failed.

        Raises:
            PublishFailed: nothing is known to be published.
        """
        entries = [
            {"entryId": str(index), "event": _embedded(m), "contentType": m.content_type, "metadata": m.metadata or {}}
            for index, m in enumerate(messages)
        ]
        target = f"/{quote(component, safe='')}/{quote(topic, safe='/')}"
        status, body = await self._call(self._bulk + target, "application/json", msgspec.json.encode(entries))
        if status == 404 and self._bulk != OLDER_BULK:
            # a daprd before 1.17 takes "bulk" for the name of a component
            again, answer = await self._call(OLDER_BULK + target, "application/json", msgspec.json.encode(entries))
            if again != 404:
                self._bulk, status, body = OLDER_BULK, again, answer
        if status < 300:
            return {}
        try:
            failed = msgspec.json.decode(body)["failedEntries"]
            return {int(entry["entryId"]): str(entry.get("error", "refused")) for entry in failed}
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise PublishFailed(f"bulk publish to {component}/{topic}: {status} {_reason(body)}") from None

    async def invoke_binding(self, component: str, operation: str, message: Message) -> bytes:
        """Invoke an output binding and return its reply.

        Raises:
            PublishFailed: it was refused.
        """
        request = {"operation": operation or "create", "data": _embedded(message), "metadata": message.metadata or {}}
        target = f"/v1.0/bindings/{quote(component, safe='')}"
        status, body = await self._call(target, "application/json", msgspec.json.encode(request))
        if status >= 300:
            raise PublishFailed(f"binding {component}: {status} {_reason(body)}")
        return body

    async def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            transport = self._idle.pop().transport
            if transport is not None:
                transport.close()

    async def _call(self, target: str, content_type: str, body: bytes) -> tuple[int, bytes]:
        head = f"POST {target} HTTP/1.1\r\nHost: {self._host}\r\n"
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        if self._token:
            head += f"dapr-api-token: {self._token}\r\n"
        try:
            connection, fresh = await self._connection()
            try:
                return await self._exchange(connection, head.encode("latin-1") + b"\r\n" + body)
            except ConnectionError:
                if fresh:
                    raise
            # an idle connection the other side had closed: publishing again is safe, the event's id is the same
            connection = await self._open()
            return await self._exchange(connection, head.encode("latin-1") + b"\r\n" + body)
        except TimeoutError:
            raise PublishFailed(f"no reply from the Dapr API within {TIMEOUT:g} s") from None
        except OSError as error:
            raise PublishFailed(f"the Dapr API at {self._socket or f'{self._host}:{self._port}'}: {error}") from error

    async def _exchange(self, connection: _Connection, request: bytes) -> tuple[int, bytes]:
        done = False
        try:
            reply = await connection.exchange(request)
            done = True
            return reply
        finally:
            if done and connection.reusable:
                self._idle.append(connection)
            elif connection.transport is not None:
                connection.transport.abort()

    async def _connection(self) -> tuple[_Connection, bool]:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection, False
        return await self._open(), True

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._socket:
            _, connection = await loop.create_unix_connection(_Connection, self._socket)
        else:
            _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls or None)
        return connection


def _embedded(message: Message) -> Any:
    """Put a message into a JSON member: JSON as it is, text as a string, bytes as base64 (msgspec's form of bytes)."""
    media = message.content_type.partition(";")[0]
    if media.endswith(("/json", "+json")):
        return msgspec.Raw(message.body)
    return message.body.decode() if media.startswith("text/") else message.body


def _reason(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body)
        return f"{found.get('errorCode', '')} {found.get('message', '')}".strip()
    except (msgspec.DecodeError, AttributeError):
        return body[:200].decode("utf-8", "replace").strip()
