"""Events to a Dapr app over HTTP, as Dapr's runtime sends them; what comes back is judged by outcomes.py.

Source: dapr/pkg/runtime/subscription/postman/http and processor/binding. The whole CloudEvent is the body, what the
broker said beside it are headers, and so is ``pubsubname``. A bulk subscription gets the bulk message even for one
event.
"""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from api.frames import Endpoint
from api.model import Subscription
from eventbus import raw
from proxy.app_replies import of_batch, of_event
from proxy.forms import name_of, trace_headers
from proxy.outcomes import DONE, ENDED, REFUSED, Outcome, of_status
from proxy.post import MARGIN
from replicas.apps.client import Reply
from replicas.apps.connect import Apps
from replicas.apps.http import Header, headers_of, path_of
from replicas.errors import ConnectFailed, ReplicaError, ReplyTimeout

if TYPE_CHECKING:
    from proxy.app_post import Shown

STRUCTURED = b"application/cloudevents+json"
JSON = b"application/json"
BULK_TYPE = "com.dapr.event.sent.bulk"

_encode = msgspec.json.Encoder().encode


def failure(error: ReplicaError, seconds: float) -> Outcome:
    """Meaning of a call without an answer. A Dapr app tells nobody what it still runs, so a time-out is judged at once:
    its handler may overlap with the next attempt."""
    if isinstance(error, ConnectFailed):
        return REFUSED
    if isinstance(error, ReplyTimeout):
        return Outcome("failed", f"no answer within {seconds:g} s")
    return ENDED


class HttpPoster:
    """POSTs events, or bulk messages of them."""

    def __init__(self, apps: Apps, subscription: Subscription) -> None:
        self._apps, self._bulky = apps, subscription.bulk_subscribe
        self._raw = subscription.form == "raw"
        self._seconds = subscription.delivery.timeout.total_seconds()
        self._name, self._topic = name_of(subscription), subscription.subject

    async def post(
        self, endpoint: Endpoint, path: str, token: str, events: Sequence[Shown], wall: float
    ) -> list[Outcome]:
        target = path_of(path)
        if self._bulky:
            return await self._bulk(endpoint, target, token, events, wall)
        return list(await asyncio.gather(*(self._single(endpoint, target, token, one, wall) for one in events)))

    async def _single(self, endpoint: Endpoint, target: bytes, token: str, one: Shown, wall: float) -> Outcome:
        headers = self._headers(STRUCTURED, {**one.metadata, **trace_headers(one.payload)})
        reply = await self._send(endpoint, target, token, headers, one.payload)
        if isinstance(reply, Outcome):
            return reply
        return of_event(reply.status, reply.headers, reply.body, wall)

    async def _bulk(
        self, endpoint: Endpoint, target: bytes, token: str, events: Sequence[Shown], wall: float
    ) -> list[Outcome]:
        headers = self._headers(JSON, trace_headers(events[0].payload))
        reply = await self._send(endpoint, target, token, headers, self._message(events))
        if isinstance(reply, Outcome):
            alone = len(events) == 1 or reply is REFUSED or reply is ENDED
            return [reply if alone else Outcome("unclear", reply.error)] * len(events)
        ids = [str(one.seq) for one in events]
        return of_batch(reply.status, reply.headers, reply.body, ids, wall)

    async def _send(
        self, endpoint: Endpoint, target: bytes, token: str, headers: list[Header], body: bytes
    ) -> Reply | Outcome:
        try:
            return await self._apps.http(endpoint.address, token).post(target, headers, body, self._seconds)
        except ReplicaError as error:
            return failure(error, self._seconds)

    def _headers(self, content_type: bytes, metadata: Mapping[str, str]) -> list[Header]:
        return [(b"content-type", content_type), *headers_of({**metadata, "pubsubName": self._name})]

    def _message(self, events: Sequence[Shown]) -> bytes:
        """The bulk message; events stand in it as they are."""
        entries = b",".join(map(self._entry, events))
        tail = {
            "id": str(uuid.uuid4()),
            "metadata": {"pubsubName": self._name},
            "pubsubname": self._name,
            "topic": self._topic,
            "type": BULK_TYPE,
        }
        return b'{"entries":[%b],%b' % (entries, _encode(tail)[1:])

    def _entry(self, one: Shown) -> bytes:
        metadata = _encode(dict(one.metadata))
        if self._raw:
            text = b64encode(raw.content(one.entry.payload or b""))
            return b'{"entryId":"%d","event":"%b","contentType":"%b","metadata":%b}' % (
                *(one.seq, text, raw.BYTES.encode()),
                metadata,
            )
        return b'{"entryId":"%d","event":%b,"contentType":"%b","metadata":%b}' % (
            *(one.seq, one.payload, STRUCTURED),
            metadata,
        )


class BindingPoster:
    """POSTs what an input binding brought: the data alone, its metadata as headers; any 2xx is success."""

    def __init__(self, apps: Apps, subscription: Subscription, epoch: int) -> None:
        self._apps = apps
        self._seconds = subscription.delivery.timeout.total_seconds()
        self._evoke = [(b"evoke-epoch", b"%d" % epoch), (b"evoke-trigger", str(subscription.key).encode())]

    async def post(
        self, endpoint: Endpoint, path: str, token: str, events: Sequence[Shown], wall: float
    ) -> list[Outcome]:
        target = path_of(path)
        return list(await asyncio.gather(*(self._post(endpoint, target, token, one, wall) for one in events)))

    async def _post(self, endpoint: Endpoint, target: bytes, token: str, one: Shown, wall: float) -> Outcome:
        ours = endpoint.protocol == "evoke"
        headers = [(b"content-type", JSON), *headers_of(one.metadata)]
        if ours:
            headers += [
                *self._evoke,
                (b"evoke-timeout", b"%g" % self._seconds),
                (b"evoke-attempt", b"%d" % (one.attempts + 1)),
            ]
        try:
            reply = await self._apps.http(endpoint.address, token).post(
                target, headers, raw.content(one.payload), self._seconds + (MARGIN if ours else 0.0)
            )
        except ReplicaError as error:
            if ours and isinstance(error, ReplyTimeout):
                return Outcome("unknown", f"timed out after {self._seconds:g} s")
            return failure(error, self._seconds)
        outcome = of_status(reply.status, reply.headers, wall)
        if outcome is None:
            return DONE
        return Outcome("failed", outcome.error, code=404) if outcome.kind == "unroutable" else outcome
