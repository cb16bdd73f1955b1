"""Why a broker cannot be reached, found out by trying: name, port, protocol, TLS, one after the other.

Client libraries wrap or swallow the cause, and people need it in one word with its remedy. Credentials are not tried:
the client is told about those by the broker itself.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from eventbus.errors import (
    BusError,
    CertificateExpired,
    HostUnknown,
    NotABroker,
    NothingListens,
    TlsFailed,
    Unreachable,
)
from eventbus.tls import client_context

WITHIN = 2.0
"""Seconds for each step."""
SECURE = frozenset({"tls", "ssl", "mqtts"})
NUDGE = b"PING\r\n\r\n"
"""Makes a server that waits for a line, or for the end of HTTP's head, answer or hang up. One that hangs is silent."""
_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h."""

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Address(NamedTuple):
    host: str
    port: int
    secure: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Greeting(NamedTuple):
    """How a protocol begins."""

    port: int
    secure_port: int
    hello: bytes
    """What the client sends first; empty: the server speaks first, and TLS begins after that."""
    answered: Callable[[bytes], bool]
    name: str


_NATS = Greeting(4222, 4222, b"", lambda reply: reply.startswith(b"INFO "), "NATS")
GREETINGS: Mapping[str, Greeting] = {
    "nats": _NATS,
    "jetstream": _NATS,
    # ApiVersions v0 with correlation id 7, which a broker answers before any authentication (Kafka protocol guide)
    "kafka": Greeting(
        9092, 9093, struct.pack(">ihhih", 10, 18, 0, 7, -1), lambda reply: reply[4:8] == b"\0\0\0\7", "Kafka"
    ),
    # any error will do too: NOAUTH comes before everything else (Redis serialization protocol)
    "redis": Greeting(6379, 6379, b"*1\r\n$4\r\nPING\r\n", lambda reply: reply.startswith((b"+PONG", b"-")), "Redis"),
    # CONNECT of MQTT 3.1.1 with a clean session and no client id; any CONNACK will do (MQTT 3.1.1, 3.1 and 3.2)
    "mqtt": Greeting(1883, 8883, b"\x10\x0c\0\4MQTT\4\2\0\1\0\0", lambda reply: reply.startswith(b"\x20\x02"), "MQTT"),
}


def addresses(kind: str, options: Mapping[str, str]) -> list[Address]:
    """Where the brokers of a bus or source of *kind* are; empty: there is nothing to try."""
    greeting, text = GREETINGS.get(kind), options.get("url") or options.get("brokers") or ""
    if greeting is None:
        return []
    found = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        try:
            parts = urlsplit(one if "://" in one else f"//{one}")
            secure = parts.scheme in SECURE or options.get("tls") == "true" or bool(options.get("caCert"))
            port = parts.port or (greeting.secure_port if secure else greeting.port)
        except ValueError:
            continue
        if parts.hostname:
            found.append(Address(parts.hostname, port, secure))
    return found


async def diagnose(kind: str, options: Mapping[str, str]) -> BusError | None:
    """The error that stands in the way of every address; None when one of them answers as it should."""
    first: BusError | None = None
    for address in addresses(kind, options):
        try:
            await _reach(address, GREETINGS[kind], options)
        except BusError as error:
            first = first or error
        else:
            return None
    return first


async def _reach(address: Address, greeting: Greeting, options: Mapping[str, str]) -> None:
    """Speak the first words with one broker; raises what stands in the way."""
    reader, writer = await _open(address)
    try:
        if address.secure:
            context = client_context(
                ca=options.get("caCert", ""), cert=options.get("clientCert", ""), key=options.get("clientKey", "")
            )
            if not greeting.hello:
                await _answer(address, greeting, reader, writer)
            await _secured(address, writer, context)
        if greeting.hello or not address.secure:
            await _answer(address, greeting, reader, writer)
    finally:
        writer.transport.abort()


async def _open(address: Address) -> Streams:
    try:
        async with asyncio.timeout(WITHIN):
            await asyncio.get_running_loop().getaddrinfo(address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise HostUnknown(f"the host name {address.host[:80]} cannot be resolved") from error
    except TimeoutError as error:
        raise HostUnknown(f"the name service does not answer for {address.host}") from error
    try:
        async with asyncio.timeout(WITHIN):
            return await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError as error:
        raise NothingListens(f"nothing listens at {address}") from error
    except TimeoutError as error:
        raise Unreachable(f"{address} does not answer") from error
    except OSError as error:
        raise Unreachable(f"{address}: {error.strerror or error}") from error


async def _answer(
    address: Address, greeting: Greeting, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Say hello and judge the reply."""
    for hello in (greeting.hello, NUDGE):
        try:
            async with asyncio.timeout(WITHIN):
                writer.write(hello)
                if await _understood(greeting, reader):
                    return
            break
        except TimeoutError:
            continue
        except ssl.SSLError as error:
            raise TlsFailed(f"{address} refused this client: {_words(error)}") from error
        except OSError:
            break
    else:
        raise Unreachable(f"{address} takes the connection and says nothing")
    if not address.secure and await _speaks_tls(address):
        raise TlsFailed(f"{address} wants TLS", hint="set tls: true")
    raise NotABroker(f"what answers at {address} does not speak {greeting.name}", hint="check the port")


async def _understood(greeting: Greeting, reader: asyncio.StreamReader) -> bool:
    reply = b""
    while len(reply) < 8 and (chunk := await reader.read(64)):
        reply += chunk
        if greeting.answered(reply):
            return True
    return False


async def _secured(address: Address, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    try:
        async with asyncio.timeout(WITHIN):
            await writer.start_tls(context, server_hostname=address.host)
    except TimeoutError as error:
        raise TlsFailed(f"{address} does not answer the TLS handshake") from error
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            raise CertificateExpired(f"the certificate of {address} has expired", hint="renew it there") from error
        message = f"the certificate of {address} does not hold: {error.verify_message.rstrip('.')}"
        raise TlsFailed(message, hint="check caCert and the host name") from error
    except (OSError, ValueError) as error:
        raise TlsFailed(f"{address} ended the TLS handshake: {_words(error)}") from error


async def _speaks_tls(address: Address) -> bool:
    """Whether a TLS handshake is answered, whoever signed the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only asks whether TLS is spoken at all
    try:
        async with asyncio.timeout(WITHIN):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def _words(error: Exception) -> str:
    """OpenSSL's reason in small letters, else the system's."""
    reason = getattr(error, "reason", None)
    return (
        str(reason).replace("_", " ").lower()
        if reason
        else str(getattr(error, "strerror", "") or error or type(error).__name__)
    )
