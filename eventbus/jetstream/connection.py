"""The one place that imports nats-py: a connection that speaks in this package's errors, and reconnects for ever.

What rides on it is JetStream's JSON API (api.py), so nothing above depends on the client library.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from api.errors import EvokeError
from eventbus.diagnosis import diagnose
from eventbus.errors import AuthFailed, BusError, TlsFailed, Unreachable
from eventbus.jetstream.login import Login, login

CONNECT_TIMEOUT = 5.0
"""Seconds for the first connect."""
CANCEL_AGAIN = 0.5
"""Seconds for which a cancelled connect may go on before it is cancelled again."""
RECONNECT_WAIT = 0.1
"""Seconds between attempts: the broker of one machine is back within a second."""
REFUSED_WAIT = 1.0
"""Seconds after refused credentials: they do not change that fast, and a broker may lock out who insists."""
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

    def __init__(self, options: Callable[[], Mapping[str, str]], *, name: str = "evoke") -> None:
        """*options* of the bus as text, asked for anew at each connection."""
        self._options, self._name = options, name
        self._pems = ("", "", "")
        self._url = ""
        """Where it goes, for people."""
        self._client = Client()
        self._tries = 0
        """Servers that may still answer before the first connect has failed."""
        self.trouble: BusError | None = None
        """Why the last try to reconnect failed."""
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
        """Connect once, answer the server's version; raises BusError, or what asking for the options raised."""
        options = self._options()
        way = login(options)
        self._closing = False
        self._url, self._tries, self._pems = way.shown, len(way.servers), way.pems
        context = way.context()
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure = failure
        self._break = asyncio.get_running_loop().create_future()
        self._client = Client()  # one that failed to connect cannot be used again
        trying = asyncio.create_task(self._connect(way, context))
        caught: Exception | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.wait((trying, failure), return_when=asyncio.FIRST_COMPLETED)
                if not trying.done():
                    await failure
                await trying
        except (OSError, TimeoutError, nats.errors.Error) as error:
            caught = error
        finally:
            await self._end(trying)
            self._failure = None
            if failure.done() and not failure.cancelled():
                failure.exception()
        if caught is not None:
            raise await self._cause(caught, options) from caught
        version = self._client.connected_server_version
        return f"{version.major}.{version.minor}"

    async def _end(self, trying: asyncio.Task[None]) -> None:
        """Stop a connect, which goes on for ever by itself."""
        if not trying.done():
            await _cancel(trying)
            await self._client.close()

    async def _cause(self, error: Exception, options: Mapping[str, str]) -> BusError:
        """What stands in the way of a first connect, in words."""
        found = _translated(error, self._url)
        if not isinstance(found, Unreachable):
            return found
        if wrong := await diagnose("nats", options):
            return wrong
        if self._client._server_info.get("tls_verify"):  # TLS 1.3 tells a client only by hanging up
            ours = "did not take ours" if self._pems[1] else "got none"
            return TlsFailed(f"{self._url} asks for a client's certificate and {ours}", hint="check clientCert")
        return found

    async def _connect(self, way: Login, context: ssl.SSLContext | None) -> None:
        def credential(name: str) -> Callable[[], str]:
            return lambda: str(getattr(self._login(), name))

        await self._client.connect(
            way.servers,
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
            tls=context,
            user=credential("user") if way.user else None,
            password=credential("password") if way.user else None,
            token=credential("token"),  # asked for before every CONNECT without a user, whether there is one or not
        )

    def _login(self) -> Login:
        """The credentials of this moment; asked for once it is known whether the connection is encrypted."""
        try:
            way = login(self._options())
        except (EvokeError, LookupError) as error:
            raise nats.errors.Error(str(error)) from error
        if way.secure and not self._client._server_info.get("tls_required"):
            raise _Plain(self._url)
        return way

    def _renew_certificates(self) -> None:
        """Connect next time with the certificates of then; the client keeps those of its first connect."""
        with suppress(EvokeError, LookupError):  # what is wrong with them shows when the client asks for credentials
            way = login(self._options())
            if way.pems != self._pems:
                self._client.options["tls"] = way.context()
                self._pems = way.pems

    async def _error(self, error: Exception) -> None:
        if not self.connected and self._client._transport is not None:
            # the library forgets a connection whose greeting failed
            self._client._transport.close()  # type: ignore[no-untyped-call]  # theirs
        if self._failure is None:
            self._renew_certificates()
            self.trouble = _translated(error, self._url)
            if isinstance(self.trouble, AuthFailed) and not self.connected:
                await asyncio.sleep(REFUSED_WAIT)
        elif not self._failure.done():
            self._tries -= 1
            if self._tries <= 0:
                self._failure.set_exception(error)

    async def _down(self) -> None:
        broken, self._break = self._break, asyncio.get_running_loop().create_future()
        if broken is not None:
            broken.set_result(None)
        # the library would send what it has buffered before anybody hears that it is back: before what is sent again
        self._client._pending.clear()
        self._client._pending_data_size = 0
        self._renew_certificates()
        for listener in self.on_down:
            listener()

    async def _up(self) -> None:
        self.trouble = None
        for listener in tuple(self.on_up):
            await listener()

    async def _closed(self) -> None:
        if not self._closing:
            if isinstance(self._client.last_error, Exception):
                self.trouble = _translated(self._client.last_error, self._url)
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
        if self._client._reconnection_task is not None:
            await _cancel(self._client._reconnection_task)
        if self._client._transport is not None:
            self._client._transport.close()  # type: ignore[no-untyped-call]  # theirs; it may be one made meanwhile


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: the library swallows a cancellation that meets a connection just made."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN)


def status(headers: Mapping[str, str] | None) -> str:
    """Status of a control message (``404``, ``409``...); empty for an ordinary one."""
    return (headers or {}).get("Status", "")


class _Plain(nats.errors.Error):
    """The server takes unencrypted connections, and this one must not be."""


def _translated(error: Exception, url: str) -> BusError:
    text = str(error) or type(error).__name__
    if "authorization" in text.lower() or "authentication" in text.lower():
        return AuthFailed(f"{url} refused the credentials", hint="check user and password of the EventBus")
    if isinstance(error, _Plain):
        return TlsFailed(f"{url} does not ask for TLS", hint="turn it on there, or set tls: false")
    if isinstance(error, nats.errors.NoRespondersError):
        return Unreachable(f"{url} has no JetStream, or it is not ready")
    return Unreachable(f"{url}: {text.removeprefix('nats: ')}")
