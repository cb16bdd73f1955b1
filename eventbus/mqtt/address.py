"""Where an MQTT broker is and who we are there, read from the options of a bus or an event source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from api.meta import Key
from eventbus.errors import BusError

SECURE = frozenset({"ssl", "tls", "mqtts", "tcps"})
PLAIN = frozenset({"tcp", "mqtt"})


class BadAddress(BusError):
    """The address of the MQTT broker does not hold."""

    reason = "Unreachable"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One broker, with everything that a connection needs."""

    host: str
    port: int
    secure: bool = False
    user: str | None = None
    password: str | None = None
    ca: str = ""
    certificate: str = ""
    private_key: str = ""

    def __str__(self) -> str:
        """Without credentials, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.secure else 'mqtt'}://{host}:{self.port}"


def read_address(options: Mapping[str, str]) -> Address:
    """Read url, user, password, tls, caCert, clientCert, clientKey; an option wins over the url. Raises BadAddress."""
    url = options.get("url", "")
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not url or not host or parts.scheme not in SECURE | PLAIN:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if url else url
        raise BadAddress(f"{shown!r} is no MQTT address", hint="write mqtt://host:1883 or mqtts://host:8883")
    tls = options.get("tls", "").lower()
    secure = tls == "true" or (not tls and parts.scheme in SECURE)
    return Address(
        host=host,
        port=port or (8883 if secure else 1883),
        secure=secure,
        user=options.get("user") or (unquote(parts.username) if parts.username else None),
        password=options.get("password") or (unquote(parts.password) if parts.password else None),
        ca=options.get("caCert", ""),
        certificate=options.get("clientCert", ""),
        private_key=options.get("clientKey", ""),
    )


def client_id(key: Key) -> str:
    """Fixed for *key*, and short: a 3.1.1 broker need not take more than 23 characters (MQTT 3.1.1, 3.1.3.1)."""
    return f"evoke-{hashlib.sha1(str(key).encode(), usedforsecurity=False).hexdigest()[:17]}"
