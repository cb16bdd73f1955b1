"""Which header lines go with a call from app to app, in each direction; pure."""

from __future__ import annotations

from base64 import b64decode

from replicas.header_lines import Headers, dropped_names

OURS = (b"evoke-", b"x-evoke-", b"dapr-", b"x-forwarded-", b"x-internal-")
"""Prefixes that only the platform sets."""
ANSWERED = frozenset({b"expect", b"host", b"forwarded", b"x-real-ip"})


def for_app(headers: Headers, *, caller: str, namespace: str, callee: str) -> list[tuple[bytes, bytes]]:
    """A call's header lines as the app gets them, its token apart. Credentials that only named the app stay behind."""
    named = dropped_names(headers)
    passed = [
        (name, value)
        for name, value in headers
        if name not in named
        and name not in ANSWERED
        and not name.startswith(OURS)
        and b"_" not in name
        and not (name == b"authorization" and value[:6].lower() == b"basic " and names_app(value))
    ]
    ours = {"dapr-caller-app-id": caller, "dapr-caller-namespace": namespace, "dapr-callee-app-id": callee}
    return [*passed, *((name.encode(), value.encode()) for name, value in ours.items() if value)]


def for_caller(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An answer's header lines as the caller gets them."""
    named = dropped_names(headers)
    return [
        (name, value) for name, value in headers if name not in named and not name.startswith((b"evoke-", b"x-evoke-"))
    ]


def names_app(authorization: bytes) -> str:
    """The app id in ``Basic`` credentials of user ``dapr-app-id``; empty: they are something else."""
    scheme, _, given = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        user, colon, app_id = b64decode(given.strip(), validate=True).decode().partition(":")
    except ValueError:
        return ""
    return app_id if colon and user.lower() == "dapr-app-id" and ":" not in app_id else ""
