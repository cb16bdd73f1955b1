"""The certificates that other tests use do what their name says."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from eventbus.tls import client_context
from tests.certificates import Authority, authority


def greet(server: tuple[str, str], client: ssl.SSLContext, directory: Path) -> None:
    """One handshake of *client* with a server on the loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = directory / "server.pem"
    pem.write_text("".join(server))
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return  # the client says what it did not like

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), 5) as plain:
                client.wrap_socket(plain, server_hostname="127.0.0.1").close()
        finally:
            thread.join()


@pytest.fixture
def issuer(tmp_path: Path) -> Authority:
    return authority(tmp_path / "ca")


def test_what_the_authority_issued_is_trusted(issuer: Authority, tmp_path: Path) -> None:
    cert, key = issuer.issue("client")

    greet(issuer.issue("127.0.0.1"), client_context(ca=issuer.ca, cert=cert, key=key), tmp_path)


@pytest.mark.parametrize(
    ("name", "expired", "reason"), [("127.0.0.1", True, "expired"), ("127.0.0.2", False, "IP address mismatch")]
)
def test_expired_and_foreign_names_are_not(
    issuer: Authority, tmp_path: Path, name: str, expired: bool, reason: str
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        greet(issuer.issue(name, expired=expired), client_context(ca=issuer.ca), tmp_path)
