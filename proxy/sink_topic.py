"""Events to another topic of their own bus, as they are but for the hop count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from api.frames import Endpoint
from api.meta import Key
from api.model import TopicSink
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, heading
from eventbus.errors import BusError, TooLarge
from proxy.hops import count_up, hops
from proxy.lanes import Entry
from proxy.outcomes import DONE, Outcome


class TopicReceiver:
    def __init__(self, bus: EventBus, subscription: Key, sink: TopicSink) -> None:
        self._bus, self._subscription, self._subject = bus, subscription, sink.subject

    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:  # noqa: ARG002  # a sink has one place and its own time
        return [await self._publish(entry) for entry in batch]

    async def _publish(self, entry: Entry) -> Outcome:
        payload = entry.payload or b""
        try:
            read = heading(payload)
            # with its hops: an event that comes back in a circle is another one, and ends where people see it
            dedupe = dedupe_of(self._subscription, read.source, read.id, str(hops(payload)))
            await self._bus.publish(self._subject, count_up(payload), key=entry.key, dedupe=dedupe, output=True)
        except (TooLarge, Malformed) as error:
            return Outcome("rejected", str(error))
        except BusError as error:
            return Outcome("failed", str(error))
        return DONE


def dedupe_of(subscription: Key, *what: str) -> str:
    """What the bus absorbs a second publish by: that of an event which was delivered again."""
    return hashlib.sha1("\0".join((str(subscription), *what)).encode(), usedforsecurity=False).hexdigest()
