"""How to reach a NATS system and who we are there, from the options of a bus; read anew for each connection.

A secret that changed is in the next connection, so that nothing has to be restarted for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from eventbus.errors import HostUnknown
from eventbus.tls import client_context

DEFAULT = "nats://127.0.0.1:4222"


class BadAddress(HostUnknown):
    """The url of the bus cannot be read."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One way in; never printed, because it holds secrets."""

    servers: list[str]
    """Addresses without credentials."""
    user: str = ""
    password: str = ""
    token: str = ""
    secure: bool = False
    """Nothing may be said before the connection is encrypted."""
    pems: tuple[str, str, str] = ("", "", "")
    """Authority, certificate and key."""

    @property
    def shown(self) -> str:
        return ",".join(self.servers)

    def context(self) -> ssl.SSLContext | None:
        """None: the client makes one of its own where a server asks for TLS; raises AuthFailed for what is no PEM."""
        ca, cert, key = self.pems
        return client_context(ca=ca, cert=cert, key=key) if self.secure or ca or cert else None


def login(options: Mapping[str, str]) -> Login:
    """Raises BadAddress."""
    servers, user, password = [], options.get("user", ""), options.get("password", "")
    token = options.get("token", "")
    schemes = set()
    for text in filter(None, (part.strip() for part in (options.get("url") or DEFAULT).split(","))):
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        try:
            port = parts.port or 4222
        except ValueError:
            raise _bad(parts.hostname or "") from None
        if parts.scheme not in {"nats", "tls"} or not parts.hostname:
            raise _bad(parts.hostname or "")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        servers.append(f"{parts.scheme}://{host}:{port}")
        schemes.add(parts.scheme)
        if parts.username and not user and not token:
            user, password = unquote(parts.username), unquote(parts.password or "")
            if parts.password is None:
                user, token = "", user
    pems = (options.get("caCert", ""), options.get("clientCert", ""), options.get("clientKey", ""))
    said, meant = options.get("tls"), "tls" in schemes or any(pems)
    secure = said == "true" or (meant and said != "false")
    return Login(servers=servers, user=user, password=password, token=token, secure=secure, pems=pems)


def _bad(host: str) -> BadAddress:
    return BadAddress(
        f"the url of the bus is no address of NATS{f' ({host})' if host else ''}",
        hint="write nats://HOST:PORT or tls://HOST:PORT, several separated by commas",
    )
