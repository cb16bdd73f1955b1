"""Errors on the way to a replica and on the control stream.

ReplicaError
├── ConnectFailed    the request did not start there: it may go elsewhere and is never charged
├── BrokenReply      the request may have started, and no complete reply came
│   └── ReplyTooLarge  the reply is longer than the caller takes
├── ReplyTimeout     no complete reply within the time limit; the request may still run
├── AppFailed        a gRPC app answered with a status other than OK
└── BadFrame         the other side of a control stream broke the framing
"""

from __future__ import annotations

from api.errors import EvokeError


class ReplicaError(EvokeError):
    """A replica or its control stream failed."""


class ConnectFailed(ReplicaError):
    """Nothing listens at the address, or it closed before it read the request."""


class BrokenReply(ReplicaError):
    """The connection ended, or its bytes stopped making sense, before the reply was complete."""


class ReplyTooLarge(BrokenReply):
    """The reply is longer than the caller takes."""


class ReplyTimeout(ReplicaError):
    """No complete reply within the time limit."""


class AppFailed(ReplicaError):
    """A gRPC app answered with a status other than OK: *status* is its name, such as ``UNIMPLEMENTED``."""

    def __init__(self, status: str, details: str) -> None:
        super().__init__(f"gRPC {status}: {details}" if details else f"gRPC {status}")
        self.status, self.details = status, details


class BadFrame(ReplicaError):
    """A frame is too long, or a known frame does not decode."""
