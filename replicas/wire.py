"""The bytes of the control stream: frames to and from a stream, nothing about who sends what.

Unknown frames and fields are skipped, so that either side may be the newer one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TypeVar

import msgspec

from api.frames import MAX_FRAME, Down, Frame, Up
from replicas.errors import BadFrame

_encoder = msgspec.json.Encoder()
_up: msgspec.json.Decoder[Up] = msgspec.json.Decoder(Up)
_down: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)
_credentials = struct.Struct("3i")
T = TypeVar("T")


class _Tag(msgspec.Struct):
    t: str


UP = frozenset({"Hello", "Readings", "Want", "Closed", "Refused", "Notice"})
DOWN = frozenset({"Config", "Assign", "Listen", "Endpoints", "Close", "Reopen"})


def encode(frame: Frame) -> bytes:
    """Length prefix and JSON; raises BadFrame above MAX_FRAME."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME:
        raise BadFrame(f"frame {type(frame).__name__} has {len(body)} bytes, the limit is {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


async def read(reader: asyncio.StreamReader) -> bytes | None:
    """Body of the next frame; None at the end of the stream."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > MAX_FRAME:
            raise BadFrame(f"frame of {length} bytes announced, the limit is {MAX_FRAME}")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def decode_up(body: bytes) -> Up | None:
    """Read a frame of an agent; None: a frame of a newer version."""
    return _decode(body, _up, UP)


def decode_down(body: bytes) -> Down | None:
    """Read a frame of the controller; None: a frame of a newer version."""
    return _decode(body, _down, DOWN)


def _decode(body: bytes, decoder: msgspec.json.Decoder[T], known: frozenset[str]) -> T | None:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:  # ValidationError among them
        try:
            tag = msgspec.json.decode(body, type=_Tag).t
        except msgspec.DecodeError:
            raise BadFrame(f"not a frame: {error}") from error
        if tag in known:
            raise BadFrame(f"frame {tag}: {error}") from error
        return None


class EpochGate:
    """Lets frames of the highest epoch seen through; an older controller is not listened to."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def admit(self, frame: Down) -> bool:
        if frame.epoch < self.epoch:
            return False
        self.epoch = frame.epoch
        return True


def same_user(sock: socket.socket) -> bool:
    """Whether the other end of a Unix socket runs under our uid (SO_PEERCRED, unix(7))."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _credentials.size)
    return int(_credentials.unpack(found)[1]) == os.getuid()
