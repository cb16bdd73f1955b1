"""Events to the streams that an app has opened: one event, one answer, known by the event's id."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from api.errors import EvokeError
from api.frames import Endpoint
from api.model import Subscription
from eventbus.cloudevents import heading
from proxy.dapr.streams import StreamEnded, Streams, place_of
from proxy.envelope import TRUE
from proxy.forms import shown
from proxy.lanes import Entry
from proxy.outcomes import BROKEN, REFUSED, Outcome, Reply, of_reply

PATIENCE = 3
"""Streams that may break under an event before it is suspected: it then goes alone, and counts."""


class StreamReceiver:
    def __init__(self, streams: Streams, subscription: Subscription) -> None:
        self._streams, self._place = streams, place_of(subscription)
        raw = subscription.metadata.get("rawPayload", "").lower() in TRUE
        self._subscription = msgspec.structs.replace(subscription, form="raw") if raw else subscription
        self._seconds = subscription.delivery.timeout.total_seconds()
        self._broken: dict[int, int] = {}
        """Event that broke with its stream -> how often."""
        streams.serve(self._place)

    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:  # noqa: ARG002 - a receiver's signature
        """Outcomes in the order of *batch*; never raises for what an app does."""
        if len(batch) == 1:
            return [await self._post(endpoint, batch[0])]
        return list(await asyncio.gather(*(self._post(endpoint, entry) for entry in batch)))

    async def _post(self, endpoint: Endpoint, entry: Entry) -> Outcome:
        stream = self._streams.get(self._place, endpoint.replica)
        if stream is None:
            return REFUSED
        payload = shown(self._subscription, entry.payload or b"")
        try:
            sent = stream.hand(heading(payload).id, payload)
        except EvokeError as error:
            return Outcome("malformed", f"the event cannot be told on a stream: {error}")
        try:
            async with asyncio.timeout(self._seconds):
                status = await sent.answer
        except TimeoutError:
            return Outcome("failed", f"no answer on the stream within {self._seconds:g} s")
        except StreamEnded as ended:
            return self._back(entry) if ended.sent else REFUSED
        finally:
            stream.forget(sent)
        self._broken.pop(entry.seq, None)
        return of_reply(Reply(status=status or "SUCCESS"))

    def _back(self, entry: Entry) -> Outcome:
        """The app may have seen the event, and said nothing of it before its stream ended."""
        times = self._broken[entry.seq] = self._broken.get(entry.seq, 0) + 1
        if times < PATIENCE:
            return REFUSED
        return BROKEN
