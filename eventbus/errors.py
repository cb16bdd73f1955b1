"""Errors of the event bus; vendor exceptions are translated into these at the backend's edge.

BusError
├── Refused          the publish was not accepted: bus full, too large, denied (never acknowledged)
│   ├── BusFull      507: above the outside publishers' share of the stream
│   ├── TooLarge     413
│   └── Malformed    400: no CloudEvent (in cloudevents.py)
├── Unreachable      no connection, or no answer within the deadline
│   ├── NoStream     nothing stores the subject (in jetstream/publishing.py)
│   ├── NothingListens  the connection was refused
│   ├── HostUnknown  the name of the host cannot be resolved
│   │   └── BadAddress  the url cannot be read (in jetstream/login.py)
│   ├── NotABroker   something else listens there
│   ├── StoreFailed  the broker is there and cannot write
│   └── SessionTaken another client uses our client id
├── ApiError         JetStream refused a call (in jetstream/api.py)
├── Conflict         somebody else changed a cell (in state.py)
├── NotYet           a kind of bus that is not built (in connect.py)
├── BrokerBinary     the embedded broker's binary is missing or foreign (in embedded.py)
├── AuthFailed       the broker refused the credentials
├── TlsFailed        no TLS connection: certificate, name or protocol do not hold
│   └── CertificateExpired
├── Fenced           another owner took over this subscription; stop at once
├── Missing          what is to be read is not there, or is something else
├── LagUnknown       the broker cannot tell; never to be read as zero
└── DeadLetterRefused  the dead letter store did not accept; the event stays held
"""

from __future__ import annotations

from api.errors import EvokeError


class BusError(EvokeError):
    """The event bus failed."""

    reason = "BusUnreachable"
    """Subscribed or Connected condition reason."""


class Refused(BusError):
    """The bus did not accept the event; it is not stored."""


class BusFull(Refused):
    """The bus is above its limit for outside publishers."""


class TooLarge(Refused):
    """The event is larger than the bus takes."""


class Unreachable(BusError):
    """The bus does not answer."""

    reason = "Unreachable"


class NothingListens(Unreachable):
    """The connection was refused."""

    reason = "ConnectionRefused"


class HostUnknown(Unreachable):
    """The name of the host cannot be resolved."""

    reason = "HostUnknown"


class NotABroker(Unreachable):
    """Something else listens at the address."""

    reason = "NotABroker"


class StoreFailed(Unreachable):
    """The broker cannot write what it is to store."""

    reason = "StorageFailed"


class SessionTaken(Unreachable):
    """Another client connects with our client id."""

    reason = "SessionTaken"


class AuthFailed(BusError):
    """The bus refused the credentials."""

    reason = "AuthFailed"


class TlsFailed(BusError):
    """The TLS handshake failed."""

    reason = "TLSFailed"


class CertificateExpired(TlsFailed):
    """The broker's certificate is past its date."""

    reason = "CertificateExpired"


class Fenced(BusError):
    """Another owner holds this subscription."""


class Missing(BusError):
    """What is to be read is not there, or is something else."""

    reason = "Missing"


class LagUnknown(BusError):
    """The broker cannot tell how much waits."""


class DeadLetterRefused(BusError):
    """The dead letter store did not accept the event."""

    reason = "DeadLetterUnavailable"
