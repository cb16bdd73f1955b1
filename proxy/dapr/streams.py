"""The streams that apps have open for events (Dapr's SubscribeTopicEventsAlpha1), whatever carries them.

A stream takes the events of one place: a function's topic on a bus. What comes in by its subscription is handed to the
streams of that place by free credit, and each event waits there for its answer, known by the event's id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import count

import msgspec

from api.frames import StreamReading
from api.meta import Key
from api.model import AppSubscription, Subscription

CREDIT = 32
"""Events that a stream holds without an answer, where neither the app nor its replicas say how many they take."""


class Place(msgspec.Struct, frozen=True):
    """What a stream takes events of."""

    function: Key
    bus: Key
    subject: str


def place_of(subscription: Subscription) -> Place:
    """Whose streams take the events of a subscription of form ``stream``."""
    return Place(Key(subscription.key.namespace, subscription.trigger), subscription.bus, subscription.subject)


class StreamEnded(Exception):
    """The stream ended before the event was answered; *sent* tells whether the app may have seen it."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the stream ended")
        self.sent = sent


class Sent(msgspec.Struct, eq=False):
    """One event on its way over a stream."""

    id: str
    message: bytes
    """As the transport sends it."""
    answer: asyncio.Future[str]
    """Status of the app: ``SUCCESS``, ``RETRY``, ``DROP``, or what else it says."""
    out: bool = False


class Stream:
    """One open stream. Its transport takes outgoing() and brings answered(); ended() is called by either side."""

    def __init__(self, name: str, place: Place, wanted: AppSubscription, encode: Callable[[bytes], bytes]) -> None:
        """*encode* makes the transport's message of a structured CloudEvent; it raises EvokeError."""
        self.name, self.place, self.wanted = name, place, wanted
        self._encode = encode
        self._outbox: deque[Sent] = deque()
        self._more = asyncio.Event()
        self._unanswered: dict[str, deque[Sent]] = {}
        self.over = False
        self.reason = ""
        """Why this side ended it."""

    def hand(self, event_id: str, payload: bytes) -> Sent:
        """Send one event; ``answer`` of the result raises StreamEnded. Raises EvokeError for what cannot be told."""
        sent = Sent(event_id, self._encode(payload), asyncio.get_running_loop().create_future())
        if self.over:
            sent.answer.set_exception(StreamEnded(sent=False))
            return sent
        self._unanswered.setdefault(event_id, deque()).append(sent)
        self._outbox.append(sent)
        self._more.set()
        return sent

    def forget(self, sent: Sent) -> None:
        """Nobody waits for that answer any more; what was not sent will not be."""
        sent.answer.cancel()
        waiting = self._unanswered.get(sent.id)
        if waiting is not None and sent in waiting:
            waiting.remove(sent)
            if not waiting:
                del self._unanswered[sent.id]

    def answered(self, event_id: str, status: str) -> bool:
        """Take an answer of the app; False: nothing waits for it. Equal ids are answered in their order."""
        waiting = self._unanswered.get(event_id)
        if not waiting:
            return False
        sent = waiting.popleft()
        if not waiting:
            del self._unanswered[event_id]
        if not sent.answer.done():
            sent.answer.set_result(status)
        return True

    async def outgoing(self) -> AsyncIterator[bytes]:
        """Messages in their order, until the stream is over."""
        while not self.over:
            while self._outbox:
                sent = self._outbox.popleft()
                if not sent.answer.done():
                    sent.out = True
                    yield sent.message
            self._more.clear()
            if not (self.over or self._outbox):
                await self._more.wait()

    def ended(self, reason: str = "") -> None:
        """Give back what is unanswered; a second call does nothing."""
        if self.over:
            return
        self.over, self.reason = True, reason
        self._more.set()
        for waiting in self._unanswered.values():
            for sent in waiting:
                if not sent.answer.done():
                    sent.answer.set_exception(StreamEnded(sent=sent.out))
        self._unanswered.clear()
        self._outbox.clear()


class Streams:
    """All streams of one proxy."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """*changed*: a stream came that nothing is declared for yet, so a reading should go out."""
        self._changed = changed
        self._open: dict[Place, dict[str, Stream]] = {}
        self._watchers: dict[Place, list[Callable[[], None]]] = {}
        self._served: dict[Place, asyncio.Event] = {}
        self._names = count(1)

    def open(self, place: Place, wanted: AppSubscription, encode: Callable[[bytes], bytes]) -> Stream:
        """A new stream; end it by close(). *encode* is Stream's."""
        stream = Stream(f"stream-{next(self._names)}", place, wanted, encode)
        self._open.setdefault(place, {})[stream.name] = stream
        self._told(place)
        self._changed()
        return stream

    def close(self, stream: Stream, reason: str = "") -> None:
        """End *stream*: its unanswered events go elsewhere."""
        found = self._open.get(stream.place, {})
        if found.pop(stream.name, None) is None:
            return
        if not found:
            del self._open[stream.place]
        self._told(stream.place)  # first: nothing that is given back goes to it again
        stream.ended(reason)

    def end(self, reason: str, function: Key | None = None) -> None:
        """End every stream, or those of one function."""
        for stream in self.every(function):
            self.close(stream, reason)

    def every(self, function: Key | None = None) -> list[Stream]:
        """All that are open, or those of one function."""
        places = (streams for place, streams in self._open.items() if function in {None, place.function})
        return [stream for streams in places for stream in streams.values()]

    def at(self, place: Place) -> list[Stream]:
        return list(self._open.get(place, {}).values())

    def get(self, place: Place, name: str) -> Stream | None:
        return self._open.get(place, {}).get(name)

    def watch(self, place: Place, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* whenever a stream of *place* came or went; the result ends that."""
        self._watchers.setdefault(place, []).append(changed)

        def leave() -> None:
            watchers = self._watchers.get(place, [])
            if changed in watchers:
                watchers.remove(changed)
            if not watchers:
                self._watchers.pop(place, None)

        return leave

    def serve(self, place: Place, *, served: bool = True) -> None:
        """The owner of the subscription of *place* takes its events here, from now on or no more."""
        event = self._served.setdefault(place, asyncio.Event())
        if served:
            event.set()
        elif event.is_set():
            del self._served[place]

    async def served(self, place: Place) -> None:
        """Return once the subscription of *place* is open here: what is published from then on comes."""
        while not (event := self._served.setdefault(place, asyncio.Event())).is_set():
            await event.wait()

    def readings(self, declared: Iterable[Subscription]) -> tuple[StreamReading, ...]:
        """What apps have asked for and *declared* does not have so yet, once for each place: the newest stream's wish
        is that of all."""
        if not self._open:
            return ()
        there = {place_of(one): one for one in declared if one.form == "stream"}
        newest = {place: next(reversed(streams.values())).wanted for place, streams in self._open.items()}
        return tuple(
            StreamReading(function=place.function, subscription=wanted)
            for place, wanted in newest.items()
            if place not in there or not _as_wanted(there[place], wanted)
        )

    def _told(self, place: Place) -> None:
        for changed in list(self._watchers.get(place, ())):
            changed()


def _as_wanted(declared: Subscription, wanted: AppSubscription) -> bool:
    """Whether the subscription is what its app asked for last; *declared* may have another dead letter topic by a
    policy, and one with a prefix."""
    dead = declared.delivery.dead_letter or ""
    return declared.metadata == wanted.metadata and dead.endswith(wanted.dead_letter)
