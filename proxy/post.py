"""One POST of one or more events to a replica, in Dapr's HTTP application protocol, and its outcomes.

One event goes as a structured CloudEvent; several go as Dapr's bulk subscribe message with the stored bytes spliced in,
so that no event is decoded on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

import msgspec

from api.frames import Endpoint
from api.model import Subscription
from proxy.hops import hops
from proxy.outcomes import ENDED, REFUSED, Outcome, of_bulk, of_single
from replicas.errors import BrokenReply, ConnectFailed, ReplyTimeout
from replicas.http import HttpClient

MAX_REPLY = 1 << 20
MARGIN = 3.0
"""Seconds past the deadline for which the reply is awaited: the framework cancels then, and waits a second for it."""

Header = tuple[bytes, bytes]


class Posted(Protocol):
    """What a POST needs of an event."""

    @property
    def seq(self) -> int: ...

    @property
    def payload(self) -> bytes | None: ...

    @property
    def attempts(self) -> int: ...


_quote = msgspec.json.Encoder().encode


class Poster:
    """Posts events of one subscription at one epoch."""

    def __init__(self, http: HttpClient, subscription: Subscription, epoch: int) -> None:
        self._http = http
        self._path = quote(subscription.path or "/", safe="/%?=&;:@!$'()*+,~-._").encode()
        self._seconds = subscription.delivery.timeout.total_seconds()
        common = [(b"evoke-epoch", b"%d" % epoch), (b"evoke-trigger", str(subscription.key).encode())]
        self._single = [(b"content-type", b"application/cloudevents+json"), *common]
        self._bulk = [(b"content-type", b"application/json"), *common]
        tail = {
            "metadata": {},
            "pubsubname": subscription.bus.name.rpartition("/")[2],
            "topic": subscription.subject,
            "type": "com.dapr.event.sent.bulk",
        }
        self._tail = b"]," + _quote(tail)[1:]

    async def post(self, endpoint: Endpoint, batch: Sequence[Posted], wall: float) -> list[Outcome]:
        """Outcomes in the order of *batch*; never raises for what a replica does."""
        single = len(batch) == 1
        headers = list(self._single if single else self._bulk)
        headers.append((b"evoke-timeout", b"%g" % self._seconds))
        if single:
            body = batch[0].payload or b""
            headers.append((b"evoke-attempt", b"%d" % (batch[0].attempts + 1)))
            headers.append((b"evoke-hops", b"%d" % hops(body)))
        else:
            body = self._body(batch)
        try:
            response = await self._http.request(
                endpoint.address, "POST", self._path, headers, body, timeout=self._seconds + MARGIN
            )
            reply = await response.read(MAX_REPLY)
        except ConnectFailed:
            return [REFUSED] * len(batch)
        except ReplyTimeout:
            return [Outcome("unknown", f"timed out after {self._seconds:g} s")] * len(batch)
        except BrokenReply:
            return [ENDED] * len(batch)
        known = dict(response.headers)
        if single:
            return [of_single(response.status, known, reply, wall)]
        return of_bulk(response.status, known, reply, [str(entry.seq) for entry in batch], wall)

    def _body(self, batch: Sequence[Posted]) -> bytes:
        entries = b",".join(
            b'{"entryId":"%d","event":%b,"contentType":"application/cloudevents+json"%b}'
            % (entry.seq, entry.payload or b"null", _metadata(entry))
            for entry in batch
        )
        return b'{"id":"%d","entries":[%b%b' % (batch[0].seq, entries, self._tail)


def _metadata(entry: Posted) -> bytes:
    """What a delivery alone has as headers, where it is not what goes without saying."""
    count = hops(entry.payload or b"")
    if not (entry.attempts or count):
        return b""
    return b',"metadata":{"evoke-attempt":"%d","evoke-hops":"%d"}' % (entry.attempts + 1, count)
