"""What a broker's refusals and a failed connect mean, as errors of the bus."""

from __future__ import annotations

import socket
import ssl

from eventbus.errors import (
    AuthFailed,
    BusError,
    BusFull,
    CertificateExpired,
    HostUnknown,
    NotABroker,
    NothingListens,
    Refused,
    TlsFailed,
    TooLarge,
    Unreachable,
)
from eventbus.mqtt.address import Address

EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h."""


class Unsupported(Unreachable):
    """The broker does not speak this version of MQTT."""


class Silent(NotABroker):
    """The connection ended before anything was answered."""


def refused_connection(reason: str, address: Address) -> BusError:
    """The error of a CONNACK, by the name of its reason code."""
    if reason == "Unsupported protocol version":
        return Unsupported(f"{address} does not speak this version of MQTT")
    if reason in {"Bad user name or password", "Not authorized", "Bad authentication method"}:
        return AuthFailed(f"{address} refused the connection: {reason}", hint="check username and password")
    return Unreachable(f"{address} refused the connection: {reason}")


def refused_message(reason: str, address: Address) -> BusError:
    """The error of a PUBACK, by the name of its reason code."""
    text = f"{address} refused the message: {reason}"
    if reason == "Quota exceeded":
        return BusFull(text)
    if reason == "Packet too large":
        return TooLarge(text)
    return Refused(text)


def translated(error: Exception, address: Address) -> BusError:
    """The error of a connect that ended before MQTT began."""
    if isinstance(error, socket.gaierror):
        return HostUnknown(f"{address}: the host name cannot be resolved", hint="check the url")
    if isinstance(error, ssl.SSLCertVerificationError):
        failed = CertificateExpired if error.verify_code == EXPIRED else TlsFailed
        return failed(f"{address}: {error.verify_message}", hint="check caCert, and the server's certificate")
    if isinstance(error, ssl.SSLError) or (address.secure and isinstance(error, ConnectionResetError)):
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else "the handshake was broken off"
        return TlsFailed(f"{address}: {why}", hint="does this port speak TLS?")
    if isinstance(error, ConnectionRefusedError):
        return NothingListens(f"{address}: nothing listens there", hint="is the broker running?")
    return Unreachable(f"{address} does not answer" if isinstance(error, TimeoutError) else f"{address}: {error}")
