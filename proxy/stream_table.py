"""Streams as replicas: the credit that the streams of an app offer to the owner of one subscription.

The owner delivers to streams as to replicas, by free credit. What it asks the controller for is still a replica of the
function; and when the last one is to go, its streams take nothing more, for they end with it.
"""

from __future__ import annotations

from collections.abc import Callable

from api.frames import Endpoint, Endpoints
from api.meta import RevisionKey
from api.model import Subscription
from proxy.dapr.streams import Streams, place_of
from proxy.wiring import Wiring
from replicas.table import ReplicaTable


def streams_of(wiring: Wiring, subscription: Subscription) -> StreamTable | None:
    """The table of an owner whose events go to streams; None: they go elsewhere."""
    if subscription.form != "stream":
        return None
    return StreamTable(wiring.streams, wiring.table, subscription, wiring.clock)


class StreamTable(ReplicaTable):
    """Every stream of the subscription's place as one endpoint, of whichever revision the events go to: nothing says
    whose stream it is."""

    def __init__(
        self, streams: Streams, shared: ReplicaTable, subscription: Subscription, clock: Callable[[], float]
    ) -> None:
        """*shared* has the replicas themselves."""
        super().__init__(clock)
        self._streams, self._shared = streams, shared
        self._place = place_of(subscription)
        self._followed: tuple[RevisionKey, ...] = ()
        self._stamp = self._credit_of_each = self._default = 0
        self._seen = False
        """A replica of the function was listed once, so it means something that none is."""
        self._awake = True
        self._unwatch = streams.watch(self._place, self._refresh)
        self.follow(subscription)

    def follow(self, subscription: Subscription) -> None:
        """The events may go to other revisions now."""
        self._followed = tuple(backend.revision for backend in subscription.backends)
        self._default = subscription.bulk
        self._note()
        self._refresh()

    def look(self) -> None:
        """The replicas have changed: they may be gone, or take another number of events than was known."""
        self._note()
        if self._offered() != self._credit_of_each:
            self._refresh()

    def leave(self) -> None:
        """The owner is gone."""
        self._unwatch()
        self._streams.serve(self._place, served=False)

    def generation(self, revision: RevisionKey) -> int:
        return self._shared.generation(revision)

    def _usable(self, known: object, replica: str) -> bool:
        return self._awake and super()._usable(known, replica)  # type: ignore[arg-type]  # the base's own record

    def _note(self) -> None:
        listed = any(self._shared.listed(revision) for revision in self._followed)
        self._seen = self._seen or listed
        self._awake = listed or not self._seen

    def _offered(self) -> int:
        """Events that one stream holds: as many as a replica takes. One that listens nowhere takes none but these, and
        says nothing of its credit."""
        ready = [one.credit for revision in self._followed for one in self._shared.ready(revision)]
        return max(ready, default=self._credit_of_each) or self._default

    def _refresh(self) -> None:
        self._stamp += 1
        credit = self._credit_of_each = self._offered()
        endpoints = tuple(
            Endpoint(replica=stream.name, address="", credit=credit, protocol="grpc")
            for stream in self._streams.at(self._place)
        )
        for revision in self._followed:
            self.update(Endpoints(epoch=1, revision=revision, generation=self._stamp, endpoints=endpoints))
