"""Records of one partition at a time: one of them again, or all that are stored now."""

from __future__ import annotations

from collections.abc import AsyncIterator

from eventbus.errors import BusError, Unreachable
from eventbus.kafka import batches, wire
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.wire import EARLIEST, LATEST, Place

BYTES = 1 << 20
WAIT = 100
"""Milliseconds for which a broker holds a fetch that finds nothing."""


class Gone(BusError):
    """The record is no longer stored."""


async def fetch(cluster: Cluster, place: Place, position: int, lane: object) -> tuple[list[Found], int]:
    """Some records from *position* on, and the position behind them; raises Gone below the first one stored."""
    node = cluster.leader(place)
    if node is None:
        await cluster.refresh()
        raise Unreachable(f"partition {place[0]}-{place[1]} has no leader now")
    request = wire.fetch({place: position}, wait=WAIT, per_partition=BYTES, whole=BYTES)
    for part in batches.parts(await cluster.call(node, request, lane)):
        if part.error == wire.OFFSET_OUT_OF_RANGE:
            raise Gone(f"record {position} of {place[0]}-{place[1]} is no longer stored")
        if part.error in wire.RETRIABLE:
            await cluster.refresh()
        wire.check(part.error, f"fetch of {place[0]}-{place[1]}")
        return batches.read(part, position)
    return [], position


async def read_one(cluster: Cluster, place: Place, offset: int, lane: object) -> Found:
    """The record at *offset* again; raises Gone."""
    found, _ = await fetch(cluster, place, offset, lane)
    if not found or found[0].record.offset != offset:
        raise Gone(f"record {offset} of {place[0]}-{place[1]} is no longer stored")
    return found[0]


async def stored(cluster: Cluster, place: Place, lane: object) -> AsyncIterator[Found]:
    """Every record from the oldest to the newest of now."""
    first = (await cluster.offsets({place: EARLIEST}))[place]
    end = (await cluster.offsets({place: LATEST}))[place]
    while first < end:
        found, position = await fetch(cluster, place, first, lane)
        for one in found:
            if one.record.offset < end:
                yield one
        first = position


async def before(
    cluster: Cluster, place: Place, end: int, since: float, most: int, lane: object
) -> AsyncIterator[list[Found]]:
    """Records below offset *end* that are no older than unix time *since*, the last *most* offsets of them, as they
    are fetched."""
    first = (await cluster.offsets({place: int(since * 1000)}))[place]
    position = max(first, end - most)
    while 0 <= first < end and position < end:
        some, position = await fetch(cluster, place, position, lane)
        yield [one for one in some if one.record.offset < end]
        if not some:
            break  # markers only, or nothing that is still stored
