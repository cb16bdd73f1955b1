"""Webhooks: an HTTP request as events; pure. The gateway serves them (gateway/webhooks.py).

A request that is a CloudEvent, in binary, structured or batched mode, is passed on as it is. Any other becomes one:

| attribute | from |
|---|---|
| type | ``io.evoke.http.request`` |
| source | ``webhook://<eventsource>/<event>`` |
| id | ``webhook-id``, ``X-GitHub-Delivery`` or ``Idempotency-Key``, else a new one |
| subject | the path below the webhook's own, without its first slash; absent where there is none |
| time | when it arrived |
| partitionkey | ``X-Partition-Key`` |
| data, datacontenttype | body and ``Content-Type`` |
| extensions | headers ``X-...-Event``, ``-Event-Type``, ``-Event-Key`` and ``-Topic``: the name's letters and digits |
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from api.model import Source
from eventbus import cloudevents
from eventbus.cloudevents import Malformed, dedupe_id
from functions_framework import attributes
from functions_framework.codec import BadEvent, carries_event, content_type
from triggers.sources.source import uri

EVENT_TYPE = "io.evoke.http.request"
IDS = (b"webhook-id", b"x-github-delivery", b"idempotency-key")
"""Headers that name a request; the first one given counts."""
KEY = b"x-partition-key"

_KIND = re.compile(rb"x-[a-z0-9-]{1,40}-(event|event-type|event-key|topic)|x-event-key")
Headers = Sequence[tuple[bytes, bytes]]


class Taken(NamedTuple):
    """One event as it goes to the bus."""

    payload: bytes
    key: str
    """Ordering key beside that of the event itself; empty: none."""
    dedupe: str


def default_path(source: Source) -> str:
    """Where a webhook without a path of its own is served."""
    owner, _, event = source.key.name.partition(".")
    return f"/webhook/{source.key.namespace}/{owner}/{event}"


def events(source: Source, headers: Headers, body: bytes, *, below: str, now: datetime) -> list[Taken]:
    """The events of one request, header names in lower case; *below* is the path under the webhook's own.

    Raises Malformed (400, 413, 415, 431) and Spoofed (403); of a batch nothing is taken when one event is bad.
    """
    if carries_event(headers):
        return [_passed(payload) for payload in cloudevents.from_request(headers, body)]
    return [_wrapped(source, headers, body, below, now)]


def _passed(payload: bytes) -> Taken:
    read = cloudevents.heading(payload)
    return Taken(payload, "", dedupe_id(read.source, read.id))


def _wrapped(source: Source, headers: Headers, body: bytes, below: str, now: datetime) -> Taken:
    address = uri(source, "webhook")
    declared = _declared(headers)
    given = dict(_given(headers, below))
    id_ = next((_text(name, value) for wanted in IDS for name, value in headers if name == wanted), uuid.uuid4().hex)
    known = {"id": id_, "source": address, "type": EVENT_TYPE, "specversion": "1.0", **given}
    wrong = attributes.problem({**known, **({"datacontenttype": declared} if declared else {})})
    if wrong:
        raise Malformed(wrong.replace("CloudEvent", "the request's event"))
    payload = cloudevents.encode(
        id=id_,
        source=address,
        type=EVENT_TYPE,
        body=body or None,
        content_type=declared or None,
        time=now,
        extensions=given,
    )
    return Taken(payload, given.get("partitionkey", ""), dedupe_id(address, id_))


def _declared(headers: Headers) -> str:
    try:
        return content_type(headers)
    except BadEvent as error:
        raise Malformed(error.reason, status=error.status) from error


def _given(headers: Headers, below: str) -> Iterator[tuple[str, str]]:
    """Attributes that path and headers give."""
    if below:
        yield "subject", _text(b"path", unquote_to_bytes(below))
    for name, value in headers:
        if name == KEY:
            yield "partitionkey", _text(name, value)
        elif _KIND.fullmatch(name):
            yield name.replace(b"-", b"").decode(), _text(name, value)


def _text(name: bytes, value: bytes) -> str:
    """A header's value, without the quotes that structured fields have (RFC 9651); raises Malformed."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"{name.decode()} is not UTF-8") from error
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
