"""Options of an MQTT source: where to connect, as whom, and to what."""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from api.meta import Key
from triggers.sources.source import BadSource

SECURE = frozenset({"ssl", "tls", "mqtts"})
PLAIN = frozenset({"tcp", "mqtt"})


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect, and to what."""

    url: str
    """Without credentials, for messages."""
    host: str
    port: int
    secure: bool
    topic: str
    client_id: str
    user: str | None = None
    password: str | None = None
    qos: int = 1
    clean: bool = False
    retained: bool = True
    """Whether retained messages are wanted."""
    version: int = 4
    """4: MQTT 3.1.1, 5: MQTT 5."""
    ca: str = ""
    certificate: str = ""
    private_key: str = ""
    nats: str = ""
    """Address of the nats-server whose MQTT listener this is, with a login for the account of its MQTT clients; empty:
    another broker."""
    nats_user: str = ""
    nats_password: str = ""


def read_options(key: Key, options: Mapping[str, str]) -> SessionOptions:
    """Read a source's options; user and password stand there or in the url, the options first. Raises BadSource."""
    url, topic = options.get("url", ""), options.get("topic", "")
    if not topic:
        raise BadSource(f"event source {key} needs a topic")
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    if not url or not parts.hostname or parts.scheme not in SECURE | PLAIN:
        raise BadSource(f"event source {key}: {url!r} is no MQTT address", hint="write mqtt://host:1883 or mqtts://...")
    secure = parts.scheme in SECURE
    qos = options.get("qos") or "1"
    if qos not in {"0", "1", "2"}:
        raise BadSource(f"event source {key}: qos is {qos!r}, expected 0, 1 or 2")
    port = parts.port or (8883 if secure else 1883)
    return SessionOptions(
        url=f"{parts.scheme}://{parts.hostname}:{port}",
        host=parts.hostname,
        port=port,
        secure=secure,
        topic=topic,
        client_id=options.get("consumerID") or _client_id(key),
        user=options.get("user") or (unquote(parts.username) if parts.username else None),
        password=options.get("password") or (unquote(parts.password) if parts.password else None),
        qos=int(qos),
        clean=options.get("cleanSession", "").lower() == "true",
        retained=options.get("retain", "").lower() != "false",
        version=5 if options.get("version") == "5" else 4,
        ca=options.get("caCert", ""),
        certificate=options.get("clientCert", ""),
        private_key=options.get("clientKey", ""),
        nats=options.get("nats", ""),
        nats_user=options.get("natsUser", ""),
        nats_password=options.get("natsPassword", ""),
    )


def _client_id(key: Key) -> str:
    """Fixed for the source, and short: a 3.1.1 broker need not take more than 23 characters."""
    return f"evoke-{hashlib.sha1(str(key).encode(), usedforsecurity=False).hexdigest()[:17]}"


def tls(options: SessionOptions) -> ssl.SSLContext:
    """Client context; certificates are PEM text, and OpenSSL reads the private key from files only."""
    context = ssl.create_default_context(cadata=options.ca or None)
    if options.certificate:
        with tempfile.TemporaryDirectory() as folder:
            certificate, private_key = Path(folder) / "certificate", Path(folder) / "key"
            certificate.write_text(options.certificate)
            private_key.touch(0o600)
            private_key.write_text(options.private_key)
            context.load_cert_chain(certificate, private_key)
    return context
