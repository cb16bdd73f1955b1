"""How large a compressed record batch can become, told before it is unpacked: a bomb must not take the proxy with it.

Batch header: Kafka protocol, message format v2. Zstandard frames: RFC 8878, 3.1.1. Snappy and LZ4 cannot expand a batch
by more than 255 times, which the broker's limit on a batch already bounds.
"""

from __future__ import annotations

import zlib

LIMIT = 64 << 20
"""Bytes that one batch may become."""

_CODEC, _RECORDS = slice(21, 23), slice(61, None)
_GZIP, _ZSTD = 1, 4
_GZIP_AT_MOST = 1032
"""Times that deflate can expand."""
_BLOCK = 128 << 10
"""Bytes that one Zstandard block can become."""
_FRAME = 0xFD2FB528
_RAW, _RLE = 0, 1


def too_large(batch: bytes) -> bool:
    """Whether *batch*, header included, becomes more than LIMIT."""
    if len(batch) <= 61 or batch[16] != 2:
        return False
    codec = int.from_bytes(batch[_CODEC], "big") & 7
    if codec == _GZIP:
        return _gzip(batch[_RECORDS]) > LIMIT
    return codec == _ZSTD and _zstd(batch[_RECORDS]) > LIMIT


def _gzip(packed: bytes) -> int:
    if len(packed) * _GZIP_AT_MOST <= LIMIT:
        return 0
    unpacking, size, rest = zlib.decompressobj(wbits=31), 0, packed
    try:
        while rest and size <= LIMIT and not unpacking.eof:
            size += len(unpacking.decompress(rest, 1 << 20))
            rest = unpacking.unconsumed_tail
    except zlib.error:
        return 0  # whoever unpacks it says what is wrong
    return size


def _zstd(packed: bytes) -> int:
    """An upper bound, from the headers of frames and blocks alone; too low only for what cannot be unpacked."""
    at = size = 0
    while at + 5 <= len(packed) and size <= LIMIT:
        if int.from_bytes(packed[at : at + 4], "little") != _FRAME:
            break
        at, checksum = _past_header(packed[at + 4], at + 5)
        last = False
        while not last and at + 3 <= len(packed):
            header = int.from_bytes(packed[at : at + 3], "little")
            last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
            size += length if kind in {_RAW, _RLE} else _BLOCK
            at += 3 + (1 if kind == _RLE else length)
        at += checksum
    return size


def _past_header(descriptor: int, at: int) -> tuple[int, int]:
    """Where a frame's blocks begin, and how many bytes of checksum follow them."""
    single = descriptor >> 5 & 1
    content = (single, 2, 4, 8)[descriptor >> 6]
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    return at + (1 - single) + dictionary + content, 4 * (descriptor >> 2 & 1)
