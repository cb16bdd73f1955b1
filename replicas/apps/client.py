"""What a running Dapr app can be asked over either protocol, and the values that go to and fro.

Source: Dapr's AppCallback service (dapr/proto/runtime/v1/appcallback.proto) and its HTTP twin (dapr/pkg/channel/http).
Every call has a time limit in seconds and raises replicas.errors only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from api.errors import EvokeError
from api.model import AppSubscription

ASK = 3.0
"""Seconds for a question about what the app takes: Dapr's own limit for bindings."""


class BadDeclaration(EvokeError):
    """What an app says of its subscriptions does not hold (E150)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="E150", hint="the app's reply is described in Dapr's programmatic subscriptions")


class AppConfig(msgspec.Struct, frozen=True):
    """What GET /dapr/config tells; all of it concerns actors."""

    entities: tuple[str, ...] = ()
    """Actor types that the app hosts; nobody calls them here."""


class Reply(msgspec.Struct, frozen=True):
    """An app's whole answer over HTTP; header names are lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Place(msgspec.Struct, frozen=True):
    """Where an event comes from, and where the app takes it."""

    pubsub: str
    topic: str
    path: str


class Item(msgspec.Struct, frozen=True):
    """One event of a bulk message."""

    id: str
    payload: bytes
    """Structured CloudEvents JSON; with *raw* the bytes that the app is to see."""
    metadata: Mapping[str, str] = {}
    raw: bool = False


class BindingAnswer(msgspec.Struct, frozen=True):
    """What an app says to the event of an input binding."""

    to: tuple[str, ...] = ()
    """Output bindings that get *data*."""
    data: bytes = b""
    parallel: bool = False


class Invoked(msgspec.Struct, frozen=True):
    """Answer of a gRPC app to a call of one of its methods."""

    data: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class AppClient(Protocol):
    """One running instance of an app, for those who find out what it takes and whether it is well."""

    async def config(self, timeout: float = ASK) -> AppConfig: ...  # noqa: ASYNC109 - how long the app may take

    async def subscriptions(self, timeout: float = ASK) -> tuple[AppSubscription, ...]:  # noqa: ASYNC109 - as above
        """None where the app declares none. Raises BadDeclaration."""
        ...

    async def takes_binding(self, name: str, path: str = "", timeout: float = ASK) -> bool:  # noqa: ASYNC109 - as above
        """Whether the app takes events of input binding *name*; *path* is where over HTTP, if not under its name."""
        ...

    async def healthy(self, path: str, timeout: float) -> bool:  # noqa: ASYNC109 - as above
        """Whether it says that it is well, within the time; never raises."""
        ...

    async def aclose(self) -> None:
        """Close what this client alone holds open."""
        ...
