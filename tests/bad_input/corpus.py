"""Events that must be refused, and a few that look odd and must not be: one table for every way an event comes in.

Each row: header lines, body, the HTTP status, and words of the one line that says why; None for the words: accepted.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
GOOD = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}

Headers = list[tuple[str, str]]


class Row(NamedTuple):
    headers: Headers
    body: bytes
    status: int
    says: str | None


def event(**changes: Any) -> dict[str, Any]:
    """Members of a good event; None takes one away."""
    members = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}, **changes}
    return {name: value for name, value in members.items() if value is not None}


def binary(status: int, says: str | None, **changes: Any) -> Row:
    """A binary event; *changes* name headers without ``ce-``, None takes one away, a list repeats it.

    Besides ``body`` and ``media`` of the request.
    """
    body, media = changes.pop("body", b"{}"), changes.pop("media", "application/json")
    headers: Headers = [("content-type", media)]
    for name, value in {**GOOD, **{f"ce-{name}": value for name, value in changes.items()}}.items():
        headers += [(name, one) for one in (value if isinstance(value, list) else [value]) if one is not None]
    return Row(headers, body, status, says)


def structured(status: int, says: str | None, body: Any, media: str = STRUCTURED, **headers: str) -> Row:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [("content-type", media), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Row(lines, raw, status, says)


BINARY = {
    "43 without id": binary(400, "lacks the attribute id", id=None),
    "43 without source": binary(400, "lacks the attribute source", source=None),
    "43 without type": binary(400, "lacks the attribute type", type=None),
    "43 without specversion": binary(400, "lacks the attribute specversion", specversion=None),
    "44 specversion 0.3": binary(400, "supported: 1.0", specversion="0.3"),
    "44 specversion 2.0": binary(400, "supported: 1.0", specversion="2.0"),
    "44 specversion 1": binary(400, "supported: 1.0", specversion="1"),
    "44 two headers": binary(400, "two headers ce-specversion", specversion=["1.0", "1.0"]),
    "45 empty id": binary(400, "id is empty", id=""),
    "45 id of 8 KB": binary(400, "at most 4096", id="x" * 8192),
    "45 control character": binary(400, "control character", id="a%07b"),
    "46 source with a space": binary(400, "URI reference", source="not a uri"),
    "46 source with a lone percent": binary(400, "URI reference", source="/a%25zz"),
    "46 empty type": binary(400, "type is empty", type=""),
    "47 yesterday": binary(400, "RFC 3339", time="yesterday"),
    "47 leap second": binary(400, "RFC 3339", time="2016-12-31T23:59:60Z"),
    "47 year 0": binary(400, "RFC 3339", time="0000-01-01T00:00:00Z"),
    "47 no zone": binary(400, "RFC 3339", time="2026-01-01T00:00:00"),
    "48 extension named data": binary(400, "attribute name 'data'", data="x"),
    "48 a dash in a name": binary(400, "attribute name 'my-ext'", **{"my-ext": "x"}),
    "48 200 extensions": binary(431, "at most 100", **{f"x{n}": "1" for n in range(200)}),
    "48 a long name": binary(200, None, **{"x" * 30: "1"}),
    "49 %zz": binary(400, "bad percent-encoding in ce-subject", subject="%zz"),
    "49 no UTF-8": binary(400, "bad percent-encoding in ce-subject", subject="%C3%28"),
    "49 raw UTF-8": binary(400, "bad percent-encoding in ce-subject", subject="caf\xc3\xa9"),
    "49 a quote": binary(400, "bad percent-encoding in ce-subject", subject='say "x"'),
    "49 quoted": binary(200, None, subject='"a \\"b\\""'),
    "53 charset of JSON data": binary(200, None, media="application/json; charset=utf-8"),
    "55 broken JSON data": binary(200, None, body=b"{broken"),
    "56 type of the platform": binary(403, "only the platform", type="io.evoke.cron.tick"),
    "56 in capitals": binary(403, "only the platform", type="IO.Evoke.cron.tick"),
    "56 source of the platform": binary(403, "only the platform", source="io.evoke.controller"),
    "56 extension of the platform": binary(403, "evokehops", evokehops="0"),
}
DATA = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":%b}'
AT = DATA.index(b"%b")
BODIES = {
    "45 integer id": structured(400, "id must be a string", event(id=1)),
    "45 id of 100 KB": structured(400, "at most 4096", event(id="x" * 100_000)),
    "45 control character in JSON": structured(400, "control character", event(id="a\x07")),
    "46 no source": structured(400, "lacks the attribute source", event(source=None)),
    "47 time is a number": structured(400, "time must be a string", event(time=3)),
    "48 upper case": structured(400, "attribute name 'My_Ext'", event(My_Ext="x")),
    "48 200 members": structured(400, "at most 100", event(**{f"x{n}": 1 for n in range(200)})),
    "48 an object for an extension": structured(400, "nested must be a string", event(nested={"a": 1})),
    "50 a list": structured(400, "JSON object, got list", []),
    "50 a scalar": structured(400, "JSON object, got int", 3),
    "50 nothing": structured(400, "at offset 0", b""),
    "50 trailing comma": structured(400, "at offset 11", b'{"id": "1",}'),
    "50 NaN": structured(400, f"no NaN at offset {AT + 5}", DATA % b'{"a":NaN}'),
    "50 1e999": structured(400, f"1e999 is out of range at offset {AT}", DATA % b"1e999"),
    "50 doubled name": structured(400, "'id' twice at offset 11", b'{"id": "1","id": "2"}'),
    "50 doubled name in data": structured(400, f"'a' twice at offset {AT + 7}", DATA % b'{"a":1,"a":2}'),
    "50 lone surrogate": structured(400, f"lone surrogate at offset {AT}", DATA % b'"\\ud800"'),
    "50 deep": structured(400, "deeper than 128 levels at offset", DATA % (b"[" * 100_000)),
    "50 deep and closed": structured(400, "deeper than 128 levels", DATA % (b"[" * 99_999 + b"]" * 99_999)),
    "50 no UTF-8": structured(400, f"not UTF-8 at offset {AT}", DATA % b"\xff"),
    "50 5,000 digits": structured(400, f"5000 digits at offset {AT}", DATA % (b"9" * 5000)),
    "51 both": structured(400, "both data and data_base64", event(data_base64="AA==")),
    "51 bad base64": structured(400, "not base64", event(data=None, data_base64="A*")),
}
HTTP = {
    "52 conflicting header": structured(400, "ambiguous mode: header ce-id", event(), ce_id="other"),
    "52 same header": structured(200, None, event(), ce_id="1"),
    "53 XML": structured(415, "cloudevents+xml is not supported", event(), "application/cloudevents+xml"),
    "53 UTF-16": structured(415, "charset utf-16", event(), f"{STRUCTURED}; charset=utf-16"),
    "54 empty batch": structured(200, None, [], BATCH),
    "54 one bad of three": structured(400, "index 1: ", [event(), {"id": "2"}, event()], BATCH),
    "54 10,000": structured(413, "batch of 10000 events", [event()] * 10_000, BATCH),
    "54 not a list": structured(400, "JSON array", {}, BATCH),
    "56 structured": structured(403, "only the platform", event(type="io.evoke.mqtt.message")),
    "56 in a batch": structured(403, "only the platform", [event(), event(source="io.evoke.x")], BATCH),
}
SPOOFED = {name: row for name, row in {**BINARY, **HTTP}.items() if row.status == 403}
EVERY = {**BINARY, **BODIES, **HTTP}
