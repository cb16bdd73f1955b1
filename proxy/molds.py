"""Events of many messages that differ in id and data only: the envelope is made once, each event is a splice; pure.

The bytes are those that envelope.wrap() means; a test holds the two to each other.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime

import msgspec

from proxy.envelope import Message, wrap

Data = Callable[[bytes], bytes]
"""Body of a message -> the members that hold it, as JSON without braces."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_ID = b'"id":"'


class Mold:
    """Of messages with one content type, and without metadata of their own that changes the event."""

    __slots__ = ("_after", "_before", "_data", "source")

    def __init__(self, message: Message, now: datetime) -> None:
        """*message*: one of them, whatever its body. Raises what wrap() raises."""
        self.source = message.source or "Dapr"
        media = message.content_type.partition(";")[0].strip().lower()
        whole = wrap(msgspec.structs.replace(message, body=b""), now)
        start = whole.index(_ID) + len(_ID)
        end = whole.index(b'"', start)
        tail = whole[end:]
        member = b'"data_base64":""' if b'"data_base64":""' in tail else b'"data":""'
        at = tail.rindex(member)
        self._before = whole[:start]
        self._after = (tail[:at], tail[at + len(member) :])
        self._data = _data_of(media)

    def event(self, body: bytes) -> tuple[str, bytes]:
        """Id and structured JSON of one message."""
        id_ = _uuid4()
        between, end = self._after
        return id_, b"%b%b%b%b%b" % (self._before, id_.encode(), between, self._data(body), end)


def molded(message: Message) -> bool:
    """Whether messages like this one can be made by a mold: nothing in the metadata says otherwise."""
    media = message.content_type.partition(";")[0].strip().lower()
    plain = media != "application/cloudevents+json" and message.hops is None
    return plain and not any(
        name in {"rawpayload", "ttlinseconds", "ttl"} or name.startswith("cloudevent.") for name in message.metadata
    )


def _data_of(media: str) -> Data:
    if media == "application/json" or media.endswith("+json"):
        return _json
    if media in {"application/octet-stream", "application/cloudevents+protobuf"}:
        return _bytes
    return _text


def _json(body: bytes) -> bytes:
    try:
        _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _text(body)
    return b'"data":' + body


def _bytes(body: bytes) -> bytes:
    return b'"data_base64":"%b"' % b64encode(body)


def _text(body: bytes) -> bytes:
    return b'"data":' + _encode(body.decode("utf-8", "replace"))


def _uuid4() -> str:
    """As str(uuid.uuid4()), at a fifth of its price."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"
