"""Who takes the events of a subscription: replicas of a function, or its sink.

A sink is delivered to like a replica that is always ready: the same window, order, attempts, breaker and dead letters.
It has no revision, so nobody starts or scales anything for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from api.frames import Endpoint, Endpoints
from api.meta import RevisionKey
from api.model import Backend, Subscription, TopicSink
from proxy.lanes import Entry
from proxy.outcomes import Outcome
from proxy.wiring import Wiring
from replicas.table import ReplicaTable

CREDIT = 32
"""Events in flight to one sink."""
TOPIC_CREDIT = 256
"""The same to a topic: the bus stores many for the price of a few."""


class Receiver(Protocol):
    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:
        """Hand *batch* over; outcomes in its order. *wall*: unix seconds. Never raises for what the other side does."""
        ...


def nobody(subscription: Subscription) -> RevisionKey:
    """What stands for the revision where there is none."""
    return RevisionKey(subscription.key.namespace, "", "")


def backends_of(subscription: Subscription) -> tuple[Backend, ...]:
    """Where its events go; a sink counts as one backend of no revision."""
    if subscription.sink is None:
        return subscription.backends
    return (Backend(revision=nobody(subscription)),)


def with_sink(wiring: Wiring, subscription: Subscription, freed: Callable[[], None]) -> Wiring:
    """*wiring* for an owner whose events go to a sink: a table of its own, in which the sink is ready."""
    table = ReplicaTable(wiring.clock)
    credit = TOPIC_CREDIT if isinstance(subscription.sink, TopicSink) else CREDIT
    sink = Endpoint(replica="sink", address="", credit=credit)
    table.update(Endpoints(epoch=1, revision=nobody(subscription), generation=1, endpoints=(sink,)))
    table.subscribe(lambda _revision: freed())
    return replace(wiring, table=table)
