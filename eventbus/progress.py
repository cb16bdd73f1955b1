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
        return msgspec.msgpack.encode((1, self.floor, zlib.compress(bitmap(self.floor, self.done), 1)))


def decode(data: bytes) -> Mark:
    """Read back what encode() wrote."""
    version, floor, packed = msgspec.msgpack.decode(data, type=tuple[int, int, bytes])
    if version != 1:
        raise BusError(f"progress of version {version}: written by a newer Evoke", hint="upgrade this one")
    return Mark(floor, frozenset(floor + 1 + index for index in set_bits(zlib.decompress(packed))))


def bitmap(floor: int, done: Collection[int]) -> bytes:
    """Bit n is set when sequence *floor* + 1 + n is *done*."""
    span = max(done, default=floor) - floor
    bits = bytearray((span + 7) // 8)
    for seq in done:
        place = seq - floor - 1
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def set_bits(bits: bytes) -> Iterable[int]:
    """Numbers of the bits that are set, ascending."""
    for position, byte in enumerate(bits):
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
