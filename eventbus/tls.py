"""TLS to brokers from PEM texts: certificates and keys arrive as values, most of them secrets, never as paths."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from eventbus.errors import AuthFailed


def client_context(*, ca: str = "", cert: str = "", key: str = "", verify: bool = True) -> ssl.SSLContext:
    """A verifying client context: TLS 1.2 at least, host names checked; raises AuthFailed for text that is no PEM.

    *ca* empty: the system's authorities. *verify* False, which only a component's own metadata can ask for: any
    certificate will do.
    """
    try:
        context = ssl.create_default_context(cadata=ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if cert:
            with _file(f"{cert.rstrip()}\n{key}") as path:
                context.load_cert_chain(path)
    except (ssl.SSLError, ValueError) as error:
        raise AuthFailed(f"the certificates do not hold: {error}", hint="give PEM texts") from error
    return context


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A path under which *text* can be read; it never reaches a disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
