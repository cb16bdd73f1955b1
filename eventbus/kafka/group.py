"""Who owns a subscription on Kafka: the one static member of its consumer group, and the epoch in its commits.

A consumer group per subscription. Every owner joins as the same ``group.instance.id``, so a join replaces whoever was
the owner, at once: his heartbeats and commits are refused (FENCED_INSTANCE_ID) without waiting for his session to end.
The one member has all partitions: parallelism lives in the window above, not here. Right after the join it commits what
is committed already under the next epoch; that write is refused for who was replaced meanwhile, so of several that take
over at once one is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventbus.errors import BusError, Fenced
from eventbus.kafka import wire
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.marks import Marks, decode
from eventbus.kafka.names import INSTANCE
from eventbus.kafka.wire import Fault, Place

AGAIN = 0.1
"""Seconds until a coordinator that is moving or loading is asked again."""
PATIENCE = 6.0
"""Seconds for which it is asked."""


class Committed(msgspec.Struct, frozen=True):
    """Progress of one partition. Sequence n is the record at offset n - 1, so the floor is Kafka's next offset."""

    floor: int
    marks: Marks


class Expired(BusError):
    """The coordinator no longer knows the member, and nobody has replaced it."""


class Group:
    """Calls about one consumer group."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self.name = cluster, name
        self._member, self._generation = "", -1

    async def _call(self, request: Any, code: Any = lambda answer: answer.error_code, lane: object = 0) -> Any:
        """Ask the coordinator, wherever it is; raises Fault, Fenced or Expired."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                number = code(answer := await self._cluster.call(
                    await self._cluster.coordinator(self.name), request, lane
                ))  # fmt: skip
            except Fault as error:
                number = error.number
                answer = None
            if number in wire.COORDINATOR_MOVED and asyncio.get_running_loop().time() < end:
                self._cluster.coordinator_moved(self.name)
                await asyncio.sleep(AGAIN)
                continue
            if number == wire.FENCED:
                raise Fenced(f"another owner took over {self.name}")
            if number == wire.UNKNOWN_MEMBER:
                raise Expired(f"the session in {self.name} ended")
            wire.check(number, self.name)
            return answer

    async def join(self, topics: Mapping[str, Sequence[int]]) -> None:
        """Become the owner; whoever was it is replaced."""
        lane = object()  # the coordinator may let the first member of a group wait, and with it all behind it
        try:
            answer = await self._call(wire.join(self.name, INSTANCE, list(topics)), lane=lane)
            self._member, self._generation = answer.member_id, answer.generation_id
            mine = topics if answer.leader_id == answer.member_id else None
            request = wire.sync(self.name, self._generation, self._member, INSTANCE, mine)
            await self._call(request, lane=lane)
        finally:
            self._cluster.leave_lane(lane)

    async def heartbeat(self) -> None:
        """Renew the ownership; raises Fenced when it is somebody else's, Expired when it is nobody's."""
        await self._call(wire.heartbeat(self.name, self._generation, self._member, INSTANCE))

    async def commit(self, progress: Mapping[Place, Committed]) -> None:
        """Write the progress of some partitions, in one answer; raises Fenced or Expired as heartbeat() does."""
        marks = {place: (one.floor, one.marks.encode(one.floor)) for place, one in progress.items()}
        request = wire.commit(self.name, self._generation, self._member, INSTANCE, marks)
        await self._call(request, lambda answer: max((p[1] for _, ps in answer.topics for p in ps), default=0))

    async def committed(self) -> dict[Place, Committed]:
        """What was committed, by whomever."""
        answer = await self._call(wire.committed(self.name))
        found = {}
        for topic, partitions in answer.topics:
            for partition, offset, metadata, error in partitions:
                wire.check(error, self.name)
                if offset >= 0:
                    found[topic, partition] = Committed(offset, decode(metadata or "", offset))
        return found

    async def evict(self) -> None:
        """Replace the owner by nobody."""
        await self._call(wire.leave(self.name, INSTANCE))

    async def delete(self) -> None:
        """Forget all progress; raises Fault when there is a member."""

        def number(answer: Any) -> int:
            code: int = answer.results[0][1]
            return 0 if code == wire.GROUP_UNKNOWN else code

        await self._call(wire.delete_group(self.name), number)
