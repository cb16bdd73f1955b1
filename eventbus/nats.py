"""The one place that imports nats-py: a connection that speaks in this package's errors, and reconnects for ever.

What rides on it is JetStream's JSON API (jetstream.py), so nothing above depends on the client library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from eventbus.errors import AuthFailed, BusError, Unreachable

CONNECT_TIMEOUT = 5.0
"""Seconds for the first connect."""
RECONNECT_WAIT = 0.1
"""Seconds between attempts: the broker of one machine is back within a second."""
PING_INTERVAL = 5
"""Seconds; a connection that is silent for three of them is dropped."""


class Message(Protocol):
    """What a subscription receives."""

    @property
    def subject(self) -> str: ...
    @property
    def reply(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> dict[str, str] | None: ...


class Listening:
    """One subscription on the connection; survives reconnects until it is stopped."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        with suppress(nats.errors.Error):  # closed or stopped before: nothing is left to stop
            await self._subscription.unsubscribe()


class Connection:
    """One connection to one NATS system; *on_up* and *on_down* run at every change after the first connect."""

    def __init__(self, url: str, *, user: str = "", password: str = "", token: str = "", name: str = "evoke") -> None:
        self._url, self._name = url, name
        self._user, self._password, self._token = user or None, password or None, token or None
        self._client = Client()
        self._failure: asyncio.Future[None] | None = None
        self._break: asyncio.Future[None] | None = None
        """Done when the present connection breaks; None before the first."""
        self._closing = False
        self.on_up: list[Callable[[], Awaitable[None]]] = []
        self.on_down: list[Callable[[], None]] = []
        self.on_closed: list[Callable[[str], None]] = []

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def max_payload(self) -> int:
        return self._client.max_payload

    async def connect(self) -> str:
        """Connect once, answer the server's version; raises Unreachable or AuthFailed."""
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure = failure
        self._break = asyncio.get_running_loop().create_future()
        self._client = Client()  # one that failed to connect cannot be used again
        trying = asyncio.create_task(self._connect())
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.wait((trying, failure), return_when=asyncio.FIRST_COMPLETED)
                if not trying.done():
                    await failure
                await trying
        except TimeoutError as error:
            raise Unreachable(f"{self._url} does not answer") from error
        except (OSError, nats.errors.Error) as error:
            raise _translated(error, self._url) from error
        finally:
            self._failure = None
            if not trying.done():
                trying.cancel()
                await asyncio.wait((trying,))
                await self._client.close()
            if failure.done() and not failure.cancelled():
                failure.exception()
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}"

    async def _connect(self) -> None:
        await self._client.connect(
            self._url,
            name=self._name,
            error_cb=self._error,
            disconnected_cb=self._down,
            reconnected_cb=self._up,
            closed_cb=self._closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # annotated int, given to asyncio.sleep
            ping_interval=PING_INTERVAL,
            connect_timeout=2,
            pending_size=16 << 20,
            skip_subject_validation=True,  # every subject comes from subjects.py, which makes safe tokens only
            user=self._user,
            password=self._password,
            token=self._token,
        )

    async def _error(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _down(self) -> None:
        broken, self._break = self._break, asyncio.get_running_loop().create_future()
        if broken is not None:
            broken.set_result(None)
        for listener in self.on_down:
            listener()

    async def _up(self) -> None:
        for listener in tuple(self.on_up):
            await listener()

    async def _closed(self) -> None:
        if not self._closing:
            for listener in tuple(self.on_closed):
                listener(f"{self._url} ended the connection: {self._client.last_error}")

    async def send(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Put one message on the connection; says nothing about its arrival."""
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except (OSError, nats.errors.Error) as error:
            raise _translated(error, self._url) from error

    async def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None, within: float = 5.0
    ) -> Message:
        """One request, one reply; raises Unreachable after *within* seconds, when nobody listens, and at once when the
        connection breaks meanwhile: the reply would never come."""
        if self._break is None:
            raise Unreachable(f"{self._url} is not connected yet")
        asking = asyncio.create_task(self._client.request(subject, payload, timeout=within, headers=headers))
        try:
            await asyncio.wait((asking, self._break), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Unreachable(f"{self._url}: the connection broke before the answer")
            return asking.result()
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise _translated(error, self._url) from error
        finally:
            asking.cancel()

    async def listen(self, subject: str, callback: Callable[[Message], None]) -> Listening:
        """Call *callback* for each message until the answer is stopped; it must not block."""

        async def call(message: Msg) -> None:  # the library takes coroutine functions only
            callback(message)

        try:
            return Listening(await self._client.subscribe(subject, cb=call, pending_bytes_limit=1 << 30))
        except (OSError, nats.errors.Error) as error:
            raise _translated(error, self._url) from error

    def inbox(self) -> str:
        return self._client.new_inbox()

    async def close(self) -> None:
        self._closing = True
        if not self._client.is_closed:
            await self._client.close()


def status(headers: Mapping[str, str] | None) -> str:
    """Status of a control message (``404``, ``409``...); empty for an ordinary one."""
    return (headers or {}).get("Status", "")


def _translated(error: Exception, url: str) -> BusError:
    text = str(error) or type(error).__name__
    if "authorization" in text.lower():
        return AuthFailed(f"{url} refused the credentials", hint="check user and password of the EventBus")
    if isinstance(error, nats.errors.NoRespondersError):
        return Unreachable(f"{url} has no JetStream, or it is not ready")
    return Unreachable(f"{url}: {text.removeprefix('nats: ')}")
