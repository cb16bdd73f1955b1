"""Which header lines pass the gateway, in each direction. Pure."""

from __future__ import annotations

import re
import uuid

from replicas.header_lines import Headers, dropped_names

OURS = (b"evoke-", b"x-evoke-", b"dapr-", b"x-forwarded-", b"x-internal-", b"x-openfaas-")
"""Prefixes that only the platform sets: from a client they are dropped."""
FORGED = frozenset({b"forwarded", b"x-real-ip"})
READ = frozenset({b"expect", b"x-request-id", b"x-call-id"})
"""Answered or set again by the gateway."""
_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def from_client(headers: Headers) -> tuple[list[tuple[bytes, bytes]], int]:
    """Header lines to pass on, and how many were dropped because only the platform may set them.

    A name with an underscore is dropped too: CGI-style readers take it for the one with a hyphen.
    """
    named = dropped_names(headers)
    passed: list[tuple[bytes, bytes]] = []
    forged = 0
    for name, value in headers:
        if name in named or name in READ:
            continue
        if name.startswith(OURS) or name in FORGED or b"_" in name:
            forged += 1
        else:
            passed.append((name, value))
    return passed, forged


def forwarded(peer: bytes, host: bytes, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """What the gateway says of the client."""
    return [
        (b"x-forwarded-for", peer),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", b"http"),
        (b"x-request-id", request_id),
    ]


def from_function(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Header lines of a reply to pass on; its length, where given, among them."""
    named = dropped_names(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in named and name != b"x-request-id" and not name.startswith((b"evoke-", b"x-evoke-"))
    ]


def identity(given: bytes | None) -> bytes:
    """A client's request or call id when it is one line of plain characters, else a new one."""
    if given is not None and _ID.fullmatch(given):
        return given
    return uuid.uuid4().hex.encode()
