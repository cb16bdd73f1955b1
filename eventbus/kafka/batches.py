"""Record batches of Kafka, written and read with aiokafka's codecs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka import errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from eventbus.kafka import expansion
from eventbus.kafka.records import Record, Stored
from eventbus.kafka.wire import Place


def batch(records: Sequence[Stored], producer: tuple[int, int], sequence: int) -> bytes:
    """One uncompressed record batch of format 2."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, *producer, sequence, 1 << 30)
    for offset, record in enumerate(records):
        builder.append(offset, None, record.key, record.value, record.headers)
    return bytes(builder.build())


class Found(NamedTuple):
    """One record, or where a batch stands that cannot be read."""

    record: Record
    flaw: str


class Part(NamedTuple):
    """What one fetch answered for one partition."""

    place: Place
    error: int
    data: bytes
    aborted: list[tuple[int, int]]
    """Producer id and first offset of each aborted transaction."""


def parts(answer: Any) -> Iterator[Part]:
    for topic, partitions in answer.topics:
        for values in partitions:  # between its ends an answer differs by version
            aborted = next((value for value in values[3:-1] if isinstance(value, list)), [])
            yield Part((topic, values[0]), values[1], values[-1] or b"", aborted)


def read(part: Part, position: int) -> tuple[list[Found], int]:
    """Records from *position* on, and the position behind them: markers, aborted and compacted ones passed over."""
    found: list[Found] = []
    aborted = sorted(part.aborted, key=lambda one: one[1])
    gone: set[int] = set()
    batches, at = MemoryRecords(part.data), 0
    while batches.has_next():
        one = batches.next_batch()
        raw = part.data[at : at + 12 + int.from_bytes(part.data[at + 8 : at + 12], "big")]
        at += len(raw)
        if one.next_offset <= position:
            continue
        while aborted and aborted[0][1] <= one.base_offset:
            gone.add(aborted.pop(0)[0])
        if one.is_control_batch:
            if ControlRecord.parse(next(one).key) == ABORT_MARKER:
                gone.discard(one.producer_id)
        elif not (one.is_transactional and one.producer_id in gone):
            found += _unpack(part.place, one, raw, position)
        position = one.next_offset
    return found, position


def _unpack(place: Place, one: Any, raw: bytes, position: int) -> list[Found]:
    try:
        if not one.validate_crc():
            raise errors.CorruptRecordException("its checksum does not hold")
        if expansion.too_large(raw):
            raise errors.CorruptRecordException(f"it becomes more than {expansion.LIMIT} bytes")
        return [
            Found(Record(*place, r.offset, r.key, r.value, r.headers, r.timestamp / 1000), "")
            for r in one
            if r.offset >= position
        ]
    except Exception as error:  # codecs raise what they like, and the partition must move on
        last = one.next_offset - 1
        flaw = f"records {one.base_offset} to {last} cannot be unpacked: {error}"
        return [Found(Record(*place, last, None, None, (), 0), flaw)]
