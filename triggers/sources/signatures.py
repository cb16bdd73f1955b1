"""Signatures of webhooks: HMAC-SHA256 of the body with a shared secret; pure.

Two forms are read. GitHub's ``X-Hub-Signature-256: sha256=<hex>`` signs the body. Standard Webhooks 1.0 (section
"Signature scheme") signs ``<webhook-id>.<webhook-timestamp>.<body>`` and sends ``webhook-signature: v1,<base64>``,
several separated by spaces while keys are rotated. A secret ``whsec_<base64>`` is the key in base64, any other the key
itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from triggers.sources.source import SourceError

TOLERANCE = timedelta(minutes=5)
"""How far a signed timestamp may be from now, in either direction."""
MOST = 16
"""Signatures of one request that are looked at."""

_ONCE = (b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256")
_HUB = b"x-hub-signature-256"
_STANDARD = b"webhook-signature"


class BadSignature(SourceError):
    """The request is not signed with the secret."""


def check(secret: str, given: Sequence[tuple[bytes, bytes]], body: bytes, *, now: datetime) -> None:
    """Hold a request, header names in lower case, to *secret*; raises BadSignature."""
    headers = dict(given)
    if any(sum(name == once for name, _ in given) > 1 for once in _ONCE):  # which one was signed, and which one counts?
        raise BadSignature("a header of the signature stands there twice")
    if _STANDARD in headers:
        _standard(secret, headers, body, now)
    elif _HUB in headers:
        expected = b"sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(expected, headers[_HUB].strip().lower()):
            raise BadSignature("X-Hub-Signature-256 does not hold")
    else:
        raise BadSignature("the request is not signed", hint="send X-Hub-Signature-256 or webhook-signature")


def _standard(secret: str, headers: Mapping[bytes, bytes], body: bytes, now: datetime) -> None:
    id_, stamp = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"")
    if not id_ or b"." in id_:  # with a dot, id and timestamp could be read in more than one way
        raise BadSignature("webhook-id is missing, or holds a dot")
    if not (stamp.isdigit() and len(stamp) < 12):
        raise BadSignature("webhook-timestamp is missing, or no number of seconds")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        raise BadSignature(f"webhook-timestamp is more than {TOLERANCE.total_seconds():g} s away from now")
    signed = id_ + b"." + stamp + b"." + body
    expected = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
    given = headers[_STANDARD].split()[:MOST]
    matches = [hmac.compare_digest(b"v1," + expected, one) for one in given]  # all of them: no early end to measure
    if not any(matches):
        raise BadSignature("webhook-signature does not hold")


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise BadSignature("the secret begins with whsec_ and is not base64") from error
