"""One dead letter as a person reads it: why, after how much, and the event byte for byte; pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from cli import output, wording

Letter = Mapping[str, Any]


class Form(StrEnum):
    """How the bytes of the event are shown."""

    json = "json"
    hex = "hex"
    base64 = "base64"


def error(letter: Letter) -> str:
    found = letter.get("error")
    return str((found.get("message") if isinstance(found, Mapping) else found) or "")


def row(letter: Letter, now: datetime) -> tuple[object, ...]:
    """Cells of ID, AGE, ATTEMPTS, REASON, ERROR."""
    age = wording.age(letter.get("at") or letter.get("time"), now)
    return letter.get("id"), age, letter.get("attempts"), letter.get("reason"), error(letter)


def payload(letter: Letter) -> bytes:
    """The event's bytes; where only its JSON came, that JSON's."""
    if encoded := letter.get("payload_base64"):
        return base64.b64decode(encoded)
    return json.dumps(letter.get("event"), ensure_ascii=False).encode()


def text(letter: Letter, form: Form, now: datetime) -> list[str]:
    """The letter as lines: what is known of it, an empty line, its event."""
    facts = {
        "id": letter.get("id"),
        "reason": letter.get("reason"),
        "error": error(letter),
        "attempts": letter.get("attempts"),
        "age": f"{wording.age(letter.get('at'), now)}, since {letter.get('at')}",
        "subject": letter.get("subject"),
        "event": f"{letter.get('event_id') or '-'} of {letter.get('event_source') or '-'}",
        "key": letter.get("key"),
    }
    body = payload(letter)
    lines = [f"{name:<9} {output.one_line(value)}" for name, value in facts.items() if value not in (None, "")]
    return [*lines, f"{'bytes':<9} {len(body)}", "", *shown(body, form)]


def shown(body: bytes, form: Form) -> list[str]:
    """*body* in *form*; hexadecimal where it is no JSON."""
    if form is Form.base64:
        return [base64.b64encode(body).decode()]
    if form is Form.json:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return list(dump(body))
        return json.dumps(value, indent=2, ensure_ascii=True).splitlines()
    return list(dump(body))


def dump(body: bytes) -> Iterator[str]:
    """Sixteen bytes a line: offset, hexadecimal, printable ASCII."""
    for offset in range(0, len(body), 16):
        part = body[offset : offset + 16]
        plain = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield f"{offset:08x}  {part.hex(' '):<47}  {plain}"
