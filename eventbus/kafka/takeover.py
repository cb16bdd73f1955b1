"""Taking a subscription over on Kafka: which partitions it reads, where each begins, and the epoch."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api.model import Subscription
from eventbus.errors import BusError, Fenced
from eventbus.kafka import names
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.group import Committed, Expired, Group
from eventbus.kafka.marks import Marks
from eventbus.kafka.wire import EARLIEST, LATEST, Place


class Sources:
    """The partitions of one subscription by share: its topic's own numbers, and its replays behind them."""

    def __init__(self, subscription: Subscription, start: str = "", *, dapr: bool = False) -> None:
        """*start*: where the bus lets those begin that have read nothing; ``all``, or as the subscription says.
        *dapr*: what a sidecar has read as the same consumer group counts as read."""
        self.subscription = subscription
        self.before = subscription.group if dapr else ""
        """Group of whoever read the topic before us; empty: nobody."""
        self.from_oldest = "all" in {start, subscription.start}
        self.topic = names.topic(subscription.subject)
        self.replays = names.replays(subscription.key, subscription.group, subscription.subject)
        self.shares: dict[int, Place] = {}

    def look(self, cluster: Cluster) -> dict[int, Place]:
        """What there is now, as far as the cluster is known."""
        for partition in cluster.known(self.topic):
            self.shares.setdefault(partition, (self.topic, partition))
        for partition in cluster.known(self.replays):
            self.shares.setdefault(names.REPLAYS + partition, (self.replays, partition))
        return self.shares

    def by_topic(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for topic, partition in self.shares.values():
            found.setdefault(topic, []).append(partition)
        return found


class Claim(msgspec.Struct, frozen=True):
    """What a takeover found, and committed again under its epoch."""

    epoch: int
    taken: Mapping[Place, Committed]


async def take(cluster: Cluster, group: Group, sources: Sources, now: float) -> Claim:
    """Become the owner at unix time *now*; raises Fenced when somebody else did at the same moment."""
    sources.look(cluster)
    places = sorted(sources.shares.values())
    await group.join(sources.by_topic())
    known = await group.committed()
    first = await cluster.offsets(dict.fromkeys(places, EARLIEST))
    last = await cluster.offsets(dict.fromkeys(places, LATEST))
    # milliseconds, so that a group that was deleted meanwhile does not begin below what replicas have seen
    epoch = max(max((one.marks.epoch for one in known.values()), default=0) + 1, int(now * 1000))
    fresh = not any(one.marks.epoch for one in known.values())
    passed = await _passed(cluster, sources.before) if fresh and sources.before else {}
    taken = {}
    for place in places:  # replays that are older than the subscription were for another of its name
        newest = fresh and (place[0] == sources.replays or not sources.from_oldest)
        start = passed.get(place, last[place] if newest else first[place])
        start = min(max(start, first[place]), last[place])
        taken[place] = _claimed(known.get(place), start, first[place], last[place], epoch)
    try:
        await group.commit(taken)
    except Expired as error:
        raise Fenced(f"the session in {group.name} ended while it was taken over") from error
    return Claim(epoch, taken)


async def _passed(cluster: Cluster, group: str) -> dict[Place, int]:
    """Where another consumer group stands; empty where we may not know."""
    try:
        return {place: one.floor for place, one in (await Group(cluster, group).committed()).items()}
    except BusError:
        return {}


def _claimed(known: Committed | None, start: int, first: int, last: int, epoch: int) -> Committed:
    """Progress of one partition for its next owner; what is no longer stored is passed."""
    if known is None:
        return Committed(start, Marks(epoch))
    if known.floor > last:  # the topic was deleted and made again: the numbers of its records began anew
        return Committed(first, Marks(epoch))
    floor = max(known.floor, first)
    attempts = {seq: attempt for seq, attempt in known.marks.attempts.items() if seq > floor}
    return Committed(floor, Marks(epoch, frozenset(seq for seq in known.marks.done if seq > floor), attempts))
