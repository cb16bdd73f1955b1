"""Progress of one partition as the metadata of its committed offset; pure.

A broker takes 4,096 characters there (``offset.metadata.max.bytes``) and gives them back with the offset, which is the
one thing that changes together with it. So floor, what is done above it, failed attempts and the owner's epoch are one
atomic write that a replaced owner is refused. Whatever the attempts are, 20,000 sequences above the floor always fit.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from collections.abc import Mapping

import msgspec

from eventbus.bus import Attempt
from eventbus.errors import BusError
from eventbus.progress import bitmap, set_bits

LIMIT = 4096
"""Characters; one more is refused."""
VERSION = 1
ATTEMPTS = 64
"""Attempts that always fit beside any done map."""
ERROR_LENGTHS = (200, 60, 0)
"""Characters of each attempt's error that are tried, until everything fits."""

Packed = tuple[int, int, bytes, bytes, list[str]]
"""Version, epoch, bitmap, attempts of 9 bytes each, their errors."""


class Marks(msgspec.Struct, frozen=True):
    """What one commit says beside its offset, which is the floor: sequences begin at 1 for offset 0."""

    epoch: int
    done: frozenset[int] = frozenset()
    attempts: Mapping[int, Attempt] = {}

    def encode(self, floor: int) -> str:
        """At most LIMIT characters; of more attempts than fit those with the most failures stay."""
        packed = zlib.compress(bitmap(floor, self.done), 9)
        ranked = sorted(self.attempts.items(), key=lambda item: (-item[1].count, item[0]))
        kept = [item for item in ranked if floor < item[0] <= floor + 0xFFFF]
        for count in (len(kept), ATTEMPTS, 0):
            attempts = kept[:count]
            rows = b"".join(_row(seq - floor, attempt) for seq, attempt in attempts)
            for length in ERROR_LENGTHS:
                errors = [attempt.error[:length] for _, attempt in attempts] if length else []
                text = b85encode(msgspec.msgpack.encode((VERSION, self.epoch, packed, rows, errors))).decode()
                if len(text) <= LIMIT:
                    return text
        raise BusError(f"the done map above {floor} is wider than any window")


def _row(delta: int, attempt: Attempt) -> bytes:
    milliseconds = min(max(round(attempt.not_before * 1000), 0), (1 << 48) - 1)
    return delta.to_bytes(2, "big") + min(attempt.count, 0xFF).to_bytes(1, "big") + milliseconds.to_bytes(6, "big")


def decode(text: str, floor: int) -> Marks:
    """Read back what encode() wrote; epoch 0 for what anybody else committed."""
    if not text:
        return Marks(0)
    try:
        version, epoch, packed, rows, errors = msgspec.msgpack.decode(b85decode(text), type=Packed)
        done = frozenset(floor + 1 + place for place in set_bits(zlib.decompress(packed)))
    except (ValueError, msgspec.DecodeError, zlib.error):
        return Marks(0)
    if version != VERSION:
        raise BusError(f"progress of version {version}: written by a newer Evoke", hint="upgrade this one")
    attempts = {}
    for number, at in enumerate(range(0, len(rows), 9)):
        delta, count = int.from_bytes(rows[at : at + 2], "big"), rows[at + 2]
        not_before = int.from_bytes(rows[at + 3 : at + 9], "big") / 1000
        error = errors[number] if number < len(errors) else ""
        attempts[floor + delta] = Attempt(count=count, not_before=not_before, error=error)
    return Marks(epoch, done, attempts)
