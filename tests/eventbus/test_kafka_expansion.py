"""A bomb is told from a batch that is only well compressed, without unpacking it."""

from __future__ import annotations

import random

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from eventbus.kafka import expansion as kafka_expansion
from eventbus.kafka.batches import Part, read
from eventbus.kafka.expansion import LIMIT, too_large

GZIP, LZ4, ZSTD = 1, 3, 4


def batch(codec: int, *values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, 0, None, value, [])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", [GZIP, ZSTD])
def test_a_bomb_is_one_flaw_and_never_unpacked(codec: int) -> None:
    bomb = batch(codec, bytes(LIMIT + 1))
    assert len(bomb) < 100_000

    ((record, flaw),), position = read(Part(("t", 0), 0, bomb, []), 0)

    assert record.value is None
    assert "becomes more than" in flaw
    assert position == 1


@pytest.mark.parametrize("codec", [0, GZIP, LZ4, ZSTD])
def test_what_is_well_compressed_is_no_bomb(codec: int) -> None:
    values = [bytes(1 << 20)] * 20
    found, _ = read(Part(("t", 0), 0, batch(codec, *values), []), 0)

    assert [record.value for record, _ in found] == values
    assert {flaw for _, flaw in found} == {""}


def test_the_bound_of_zstandard_holds() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for size in (0, 1, 1000, 200_000, 3 << 20):
        for content in (bytes(size), draw.randbytes(size), b"abc" * (size // 3)):
            for level in (1, 3, 19):
                packed = bytes(cramjam.zstd.compress(content, level))
                bound = kafka_expansion._zstd(packed)
                assert len(content) <= bound <= len(content) + (128 << 10) * (1 + len(content) // 1000)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 2, 3, 4, 7]))
def test_nothing_breaks_the_look_at_it(junk: bytes, codec: int) -> None:
    header = bytearray(61)
    header[16], header[22] = 2, codec

    assert not too_large(bytes(header) + junk)
    assert not too_large(bytes(header) + b"\x28\xb5\x2f\xfd" + junk)
    assert not too_large(junk)
