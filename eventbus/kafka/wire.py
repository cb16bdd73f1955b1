"""Kafka's requests, built with aiokafka's protocol classes; no connection, no decision.

Numbers and shapes: https://kafka.apache.org/protocol. Two versions
that aiokafka does not have are declared here, because they carry ``group_instance_id``: without it a broker cannot tell
an owner that was replaced from one whose session ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import errors
from aiokafka.partitioner import murmur2
from aiokafka.protocol.admin import (
    ApiVersionRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import JoinGroupRequest, MemberAssignment, ProtocolMetadata, SyncGroupRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String

from eventbus.errors import AuthFailed, BusError

OFFSET_OUT_OF_RANGE: Final = 1
UNKNOWN_TOPIC: Final = 3
TOO_LARGE: Final = frozenset({10, 18})
"""MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE."""
UNKNOWN_MEMBER: Final = 25
REBALANCING: Final = frozenset({22, 27})
"""ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS."""
DENIED: Final = frozenset({29, 30, 31})
"""Of a topic, a group, the cluster."""
TOPIC_EXISTS: Final = 36
GROUP_NOT_EMPTY: Final = 68
GROUP_UNKNOWN: Final = 69
FENCED: Final = 82
"""FENCED_INSTANCE_ID."""
COORDINATOR_MOVED: Final = frozenset({14, 15, 16})
SEQUENCE_LOST: Final = frozenset({45, 47, 59})
"""OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID."""
DUPLICATE: Final = 46
"""DUPLICATE_SEQUENCE_NUMBER: the batch is stored."""
RETRIABLE: Final = frozenset({2, 3, 5, 6, 7, 8, 9, 14, 15, 16, 19, 20, 41, 56, 74, 75, 78})

EARLIEST: Final = -2
LATEST: Final = -1
COMMITTED: Final = 1
"""Isolation level: transactions that were aborted are not seen."""
SESSION = 10_000
"""Milliseconds of silence after which the coordinator drops a member."""
ADMIN_TIMEOUT = 5_000


class Fault(BusError):
    """Kafka answered with an error; *number* as in the protocol."""

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        self.name = errors.for_code(number).message or str(number)
        super().__init__(f"Kafka: {what}: {self.name} ({number})")


def check(number: int, what: str) -> None:
    """Raise Fault, or AuthFailed for a right that is missing, unless *number* is 0."""
    if number in DENIED:
        raise AuthFailed(f"Kafka: {what}: the user lacks the right", hint="see the guide on Kafka for what it needs")
    if number:
        raise Fault(number, what)


class _HeartbeatAnswer(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION = 12, 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION, RESPONSE_TYPE = 12, 3, _HeartbeatAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatStruct]):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 12

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, struct: Any) -> Any:
        return struct(*self._values)


class _CommitAnswer(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION = 8, 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(("topic", String("utf-8")), ("partitions", Array(("partition", Int32), ("error_code", Int16)))),
        ),
    )


class _CommitStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION, RESPONSE_TYPE = 8, 7, _CommitAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", String("utf-8")),
                    ),
                ),
            ),
        ),
    )


class _Commit(Request[_CommitStruct]):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 8

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, struct: Any) -> Any:
        return struct(*self._values)


class _LeaveAnswer(Response):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION = 13, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class _LeaveStruct(RequestStruct):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY, API_VERSION, RESPONSE_TYPE = 13, 3, _LeaveAnswer
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _Leave(Request[_LeaveStruct]):  # type: ignore[misc]  # aiokafka ships no types
    API_KEY = 13

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, struct: Any) -> Any:
        return struct(*self._values)


Place = tuple[str, int]
"""Topic and partition."""


def by_topic(places: Mapping[Place, Any]) -> list[tuple[str, list[Any]]]:
    """Values of places, each after its partition, grouped as requests want them."""
    grouped: dict[str, list[Any]] = {}
    for (topic, partition), value in places.items():
        values = value if isinstance(value, tuple) else (value,)
        grouped.setdefault(topic, []).append((partition, *values))
    return list(grouped.items())


def join(group: str, instance: str, topics: Sequence[str]) -> Any:
    metadata = ProtocolMetadata(0, list(topics), b"").encode()
    return JoinGroupRequest(group, SESSION, SESSION, "", instance, "consumer", [("evoke", metadata)])


def sync(group: str, generation: int, member: str, instance: str, mine: Mapping[str, Sequence[int]] | None) -> Any:
    """*mine*: partitions that the leader assigns to itself; None from one that does not lead."""
    shares = [(member, MemberAssignment(0, [(t, list(p)) for t, p in mine.items()], b"").encode())] if mine else []
    return SyncGroupRequest(group, generation, member, instance, shares)


def heartbeat(group: str, generation: int, member: str, instance: str) -> Any:
    return _Heartbeat(group, generation, member, instance)


def leave(group: str, instance: str, member: str = "") -> Any:
    """The instance goes; without *member* whoever holds it."""
    return _Leave(group, [(member, instance)])


def commit(group: str, generation: int, member: str, instance: str, marks: Mapping[Place, tuple[int, str]]) -> Any:
    """*marks*: place -> next offset, metadata."""
    placed = {place: (offset, -1, metadata) for place, (offset, metadata) in marks.items()}
    return _Commit(group, generation, member, instance, by_topic(placed))


def committed(group: str) -> Any:
    return OffsetFetchRequest(group, None)


def delete_group(group: str) -> Any:
    return DeleteGroupsRequest([group])


def offsets(times: Mapping[Place, int]) -> Any:
    """*times*: EARLIEST, LATEST, or milliseconds."""
    return OffsetRequest(-1, COMMITTED, by_topic(times))


def fetch(positions: Mapping[Place, int], *, wait: int, per_partition: int, whole: int) -> Any:
    placed = {place: (offset, per_partition) for place, offset in positions.items()}
    return FetchRequest(wait, 1, whole, COMMITTED, by_topic(placed))


def produce(place: Place, batch: bytes, timeout: int) -> Any:
    return ProduceRequest(None, -1, timeout, by_topic({place: batch}))


def producer_id() -> Any:
    return InitProducerIdRequest(None, 0)


def create_topic(name: str, partitions: int, settings: Mapping[str, str]) -> Any:
    """Replication as the broker's default says."""
    return CreateTopicsRequest([(name, partitions, -1, [], list(settings.items()))], ADMIN_TIMEOUT, False)


def delete_records(below: Mapping[Place, int]) -> Any:
    return DeleteRecordsRequest(by_topic(below), ADMIN_TIMEOUT)


def alive() -> Any:
    """What every broker answers, whoever asks."""
    return ApiVersionRequest()


def partition(key: bytes | None, partitions: Sequence[int], turn: int) -> int:
    """Where a record goes: by its key as Kafka's own producers do, so that theirs and ours meet; else in *turn*."""
    if key is None:
        return partitions[turn % len(partitions)]
    place: int = (murmur2(key) & 0x7FFFFFFF) % len(partitions)
    return partitions[place]
