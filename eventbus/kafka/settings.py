"""Where a Kafka cluster is and how to log in there, from the fields of a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from eventbus.errors import AuthFailed
from eventbus.tls import client_context


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cluster is and who we are there."""

    brokers: str
    mechanism: str = ""
    """SASL mechanism; empty: none."""
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True
    client: str = "evoke"
    """What the brokers log of us."""

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Settings:
        """From the fields of an EventBus or EventSource, resolved to texts."""
        required = options.get("authRequired") == "true"
        sasl = required or bool(options.get("saslUsername"))
        secured = required or bool(options.get("caCert") or options.get("clientCert"))
        return cls(
            brokers=options.get("brokers", "127.0.0.1:9092"),
            mechanism=options.get("saslMechanism", "PLAIN") if sasl else "",
            user=options.get("saslUsername", ""),
            password=options.get("saslPassword", ""),
            tls=options["tls"] == "true" if options.get("tls") else secured,
            ca=options.get("caCert", ""),
            cert=options.get("clientCert", ""),
            key=options.get("clientKey", ""),
            verify=options.get("skipVerify") != "true",
            client=options.get("clientID") or "evoke",
        )

    def diagnosed(self) -> dict[str, str]:
        """Options by which diagnosis.py tries the connection."""
        return {
            "brokers": self.brokers,
            "tls": str(self.tls).lower(),
            "caCert": self.ca if self.tls else "",
            "clientCert": self.cert,
            "clientKey": self.key,
        }

    def arguments(self, timeout: float) -> dict[str, Any]:
        """Of aiokafka's connections; *timeout* in seconds. Raises AuthFailed for certificates that do not hold."""
        if self.mechanism and not (self.user and self.password):
            raise AuthFailed("SASL needs a user name and a password", hint="give saslUsername and saslPasswordFrom")
        return {
            "client_id": self.client,
            "request_timeout_ms": int(timeout * 1000),
            "security_protocol": ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT"),
            "ssl_context": client_context(ca=self.ca, cert=self.cert, key=self.key, verify=self.verify)
            if self.tls
            else None,
            "sasl_mechanism": self.mechanism or "PLAIN",
            "sasl_plain_username": self.user or None,
            "sasl_plain_password": self.password or None,
        }
