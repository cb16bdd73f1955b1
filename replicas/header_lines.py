"""Header lines that belong to one connection and go no further; pure."""

from __future__ import annotations

from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 7.6.1, and the two proxy ones that browsers still send."""


def dropped_names(headers: Headers) -> set[bytes]:
    """Names that are meant for the next hop only: those that always are, and those that ``Connection`` says. The ones
    that frame a message stay."""
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return {*HOP_BY_HOP, *(named - {b"content-length", b"host", b"content-type"})}
