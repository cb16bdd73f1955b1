"""HTTP to a platform's two APIs: resources (the controller) and operations (the proxy).

One Protocol, one class per way to get there: Unix sockets on one machine; in a cluster the API server's proxy to
services, so that its access rules decide.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal, Protocol
from urllib.parse import urlencode

import msgspec

from cli.errors import NoPlatform

Service = Literal["controller", "operations"]
SOCKETS: Mapping[Service, str] = {"controller": "controller.sock", "operations": "plane-{}.sock"}
TIMEOUT = 30.0
"""Seconds that a reply may take; None in a request waits for ever."""


class Reply:
    """One HTTP reply; its body is read by one of the three methods, which close the connection at their end."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def read(self) -> bytes:
        with translated():
            try:
                return self._response.read()
            finally:
                self._connection.close()

    def json(self) -> Any:
        body = self.read()
        try:
            return json.loads(body) if body else {}
        except ValueError:
            return {"error": {"message": body[:200].decode(errors="replace")}}

    def lines(self) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON body as they come; ends when the platform stops."""
        try:
            while line := self._response.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError):
            return  # the platform went away in the middle of a line: what came before stands
        finally:
            self._connection.close()

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        with translated():
            try:
                while chunk := self._response.read1(size):
                    yield chunk
            finally:
                self._connection.close()


class Ask(msgspec.Struct, frozen=True):
    """One request."""

    service: Service
    method: str
    path: str
    query: Mapping[str, object] = {}
    """What is None, empty or False is left out."""
    body: Any = None
    """JSON-encoded unless it is bytes."""
    timeout: float | None = TIMEOUT
    proxy: int = 0
    """Which one serves the operations."""

    @property
    def target(self) -> str:
        given = {name: _text(value) for name, value in self.query.items() if value not in (None, "", False)}
        return f"{self.path}?{urlencode(given)}" if given else self.path


class Transport(Protocol):
    def open(self, ask: Ask) -> Reply:
        """Send one request. Raises NoPlatform when nobody answers."""
        ...

    def proxies(self) -> int:
        """How many proxies serve operations."""
        ...


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, *, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class LocalTransport:
    """The Unix sockets of one local platform; *run* is their folder."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def open(self, ask: Ask) -> Reply:
        data = ask.body if ask.body is None or isinstance(ask.body, bytes) else json.dumps(ask.body).encode()
        headers = {"content-type": "application/json"} if data is not None else {}
        connection = UnixConnection(self._run / SOCKETS[ask.service].format(ask.proxy), timeout=ask.timeout)
        return send(connection, ask.method, ask.target, data, headers)

    def proxies(self) -> int:
        return max(1, len(list(self._run.glob(SOCKETS["operations"].format("*")))))


class translated:  # noqa: N801 - used as a statement
    """Socket and HTTP errors inside become NoPlatform, so that a broken pipe is always our own output's."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise NoPlatform("the platform did not answer in time", hint="see `evoke doctor`") from error
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            raise NoPlatform("the platform does not run") from error
        if isinstance(error, OSError | http.client.HTTPException):
            cause = str(error) or type(error).__name__
            raise NoPlatform(f"the platform broke off: {cause}", hint="see `evoke doctor`") from error


def send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | IO[bytes] | None,
    headers: Mapping[str, str],
) -> Reply:
    """One request on a new connection."""
    with translated():
        try:
            with suppress(BrokenPipeError):  # it may answer before it took the whole body: 413 and the like
                connection.request(method, target, body, dict(headers))
            return Reply(connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise


def _text(value: object) -> str:
    return "1" if value is True else str(value)
