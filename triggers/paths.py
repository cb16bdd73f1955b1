"""Where a value stands in an event, as conditions write it: an attribute, or a path into ``data``.

``subject``, ``data.vehicle``, ``event.data.tags[0]``, ``data['a b']``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from api.errors import InvalidInput, Problem
from eventbus.cloudevents import Malformed
from triggers.evaluation import walk

MAX_LENGTH = 256

Read: TypeAlias = Callable[[bytes], str]
"""Structured CloudEvents JSON -> the JSON of the value, empty where there is none; raises Malformed."""

_HEAD = re.compile(r"(?:event\.)?([A-Za-z][A-Za-z0-9_]*)", re.ASCII)
_STEP = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d{1,6})\]|\["([^"\\]+)"\]|\['([^'\\]+)'\]""", re.ASCII)
_encode = msgspec.json.Encoder(order="deterministic").encode


@lru_cache(maxsize=1024)
def compile_path(text: str) -> Read:
    """Compile *text*; raises InvalidInput (E125, E126)."""
    if len(text) > MAX_LENGTH:
        raise _refuse(f"the path is longer than {MAX_LENGTH} characters", "E126")
    head = _HEAD.match(text)
    if head is None:
        raise _refuse(f"`{text[:40]}` is no path: write an attribute, or `data.vehicle`")
    steps: list[str | int] = []
    at = head.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise _refuse(f"unexpected `{text[at]}` at character {at + 1} of the path")
        steps.append(int(step[2]) if step[2] else step[1] or step[3] or step[4])
        at = step.end()
    if (head[1] != "data") and (steps or not re.fullmatch(r"[a-z0-9]{1,20}", head[1])):
        raise _refuse(f"`{text[:40]}` is no attribute; did you mean `data.{text[:40]}`?")
    return _reader(head[1], steps)


def _reader(member: str, steps: list[str | int]) -> Read:
    fields = [("member", Any, msgspec.UNSET)]
    record = msgspec.defstruct("Record", fields, rename={"member": member}, frozen=True, gc=False)
    decode = msgspec.json.Decoder(record).decode
    value = walk(lambda event: event.member, steps)

    def read(payload: bytes) -> str:
        try:
            found = value(decode(payload))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Malformed(f"not a structured CloudEvent: {error}") from error
        if isinstance(found, float) and found.is_integer():
            found = int(found)  # 7.0 and 7 are one value
        return _encode(found).decode() if isinstance(found, str | int | float) else ""

    return read


def _refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])
