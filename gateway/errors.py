"""Requests that the gateway answers itself.

Rejected
├── BadRequest     the bytes are no request that may be passed on; the connection closes
└── ClientGone     the client left or stopped sending; nobody reads an answer
"""

from __future__ import annotations

from collections.abc import Sequence

from api.errors import EvokeError


class Rejected(EvokeError):
    """One request is answered with *status* and a one-line JSON body."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Sequence[tuple[bytes, bytes]] = (), hint: str = ""
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.headers = tuple(headers)


class BadRequest(Rejected):
    """What follows on this connection cannot be trusted to be where it seems."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, "bad-request", message)


class ClientGone(Exception):
    """The client closed the connection."""


def later(status: int, code: str, message: str, *, seconds: int = 1) -> Rejected:
    """A rejection after which the same request may succeed."""
    return Rejected(status, code, message, headers=((b"retry-after", b"%d" % seconds),))
