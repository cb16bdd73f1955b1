"""Progress of one share as a value: the floor, what is done above it, and its bytes."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable

import msgspec

from eventbus.errors import BusError


class Mark(msgspec.Struct, frozen=True):
    """Everything up to *floor* is done, and *done* above it."""

    floor: int = 0
    done: frozenset[int] = frozenset()

    def moved(self, floor: int, done: Collection[int]) -> Mark:
        """This mark after a commit; never moves back."""
        higher = max(self.floor, floor)
        above = {seq for seq in (*self.done, *done) if seq > higher}
        return Mark(higher, frozenset(above))

    def encode(self) -> bytes:
        """A bitmap above the floor, compressed: 20,000 sequences take at most about 2.5 KB."""
        span = max(self.done, default=self.floor) - self.floor
        bitmap = bytearray((span + 7) // 8)
        for seq in self.done:
            place = seq - self.floor - 1
            bitmap[place >> 3] |= 1 << (place & 7)
        return msgspec.msgpack.encode((1, self.floor, zlib.compress(bitmap, 1)))


def decode(data: bytes) -> Mark:
    """Read back what encode() wrote."""
    version, floor, packed = msgspec.msgpack.decode(data, type=tuple[int, int, bytes])
    if version != 1:
        raise BusError(f"progress of version {version}: written by a newer Evoke", hint="upgrade this one")
    return Mark(floor, frozenset(floor + 1 + index for index in _set_bits(zlib.decompress(packed))))


def _set_bits(bitmap: bytes) -> Iterable[int]:
    for position, byte in enumerate(bitmap):
        while byte:
            low = byte & -byte
            yield position * 8 + low.bit_length() - 1
            byte ^= low  # noqa: PLW2901  # counting the byte down is the loop


def highest(marks: Iterable[Mark]) -> Mark:
    """What is true when each of *marks* is: the highest floor, and everything done above it."""
    floor, done = 0, set[int]()
    for mark in marks:
        floor = max(floor, mark.floor)
        done |= mark.done
    return Mark(floor, frozenset(seq for seq in done if seq > floor))
