"""HTTP requests as events, and their signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from api.meta import Key
from api.model import Source
from eventbus.cloudevents import Malformed, Spoofed, dedupe_id
from triggers.sources import signatures
from triggers.sources.signatures import BadSignature
from triggers.sources.webhook import Headers, Taken, default_path, events

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOOK = Source(key=Key("shop", "hooks.github"), kind="http", bus=Key("shop", "default"), subject="shop.hooks.github")
STRUCTURED = [(b"content-type", b"application/cloudevents+json")]
BATCH = [(b"content-type", b"application/cloudevents-batch+json")]
EVENT = b'{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1}}'


def taken(headers: Headers, body: bytes, below: str = "") -> list[Taken]:
    return events(HOOK, headers, body, below=below, now=NOW)


def members(headers: Headers, body: bytes, below: str = "") -> dict[str, Any]:
    (one,) = taken(headers, body, below)
    found: dict[str, Any] = msgspec.json.decode(one.payload)
    return found


def test_any_request_becomes_an_event() -> None:
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"x-github-event", b"push"),
        (b"x-github-delivery", b"72d3162e"),
        (b"x-gitlab-token", b"secret"),
    ]
    assert members(headers, b'{"ref":"main"}', "acme/site") == {
        "specversion": "1.0",
        "id": "72d3162e",
        "source": "webhook://hooks/github",
        "type": "io.evoke.http.request",
        "subject": "acme/site",
        "time": "2026-11-21T12:00:00Z",
        "xgithubevent": "push",
        "datacontenttype": "application/json; charset=utf-8",
        "data": {"ref": "main"},
    }


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (b"text/plain", b"hello", {"datacontenttype": "text/plain", "data": "hello"}),
        (b"application/octet-stream", b"\xff", {"datacontenttype": "application/octet-stream", "data_base64": "/w=="}),
        (b"application/json", b"{broken", {"datacontenttype": "application/json", "data_base64": "e2Jyb2tlbg=="}),
        (b"", b'{"a":1}', {"datacontenttype": "application/json", "data": {"a": 1}}),
        (b"", b"", {}),
    ],
)
def test_body_and_content_type_stay(content_type: bytes, body: bytes, expected: dict[str, Any]) -> None:
    found = members([(b"content-type", content_type)] if content_type else [], body)
    assert {name: found[name] for name in found if name.startswith("data")} == expected
    assert "subject" not in found


@pytest.mark.parametrize(
    ("header", "value", "id_"),
    [
        (b"idempotency-key", b'"8e03978e"', "8e03978e"),
        (b"webhook-id", b"msg_1", "msg_1"),
    ],
)
def test_who_sends_again_is_recognised(header: bytes, value: bytes, id_: str) -> None:
    first, again = (taken([(header, value)], b"x")[0] for _ in range(2))
    assert first.dedupe == again.dedupe == dedupe_id("webhook://hooks/github", id_)


def test_without_an_id_every_request_is_another_event() -> None:
    first, again = (taken([], b"x")[0] for _ in range(2))
    assert first.dedupe != again.dedupe


def test_a_header_gives_the_ordering_key() -> None:
    (found,) = taken([(b"x-partition-key", "Zürich".encode())], b"x")
    assert found.key == msgspec.json.decode(found.payload)["partitionkey"] == "Zürich"


def test_cloudevents_pass_as_they_are() -> None:
    (structured,) = taken(STRUCTURED, EVENT)
    assert structured == Taken(EVENT, "", dedupe_id("/s", "7"))
    headers = [
        (b"ce-specversion", b"1.0"),
        (b"ce-id", b"7"),
        (b"ce-source", b"/s"),
        (b"ce-type", b"t"),
        (b"content-type", b"application/json"),
    ]
    (binary,) = taken(headers, b'{"a":1}')
    assert binary.dedupe == structured.dedupe
    assert msgspec.json.decode(binary.payload)["data"] == {"a": 1}
    assert [one.payload for one in taken(BATCH, b"[" + EVENT + b"," + EVENT.replace(b'"7"', b'"8"') + b"]")] == [
        EVENT,
        EVENT.replace(b'"7"', b'"8"'),
    ]
    assert taken(BATCH, b"[]") == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (STRUCTURED, EVENT.replace(b'"id":"7",', b""), 400),
        (STRUCTURED, EVENT.replace(b"1.0", b"0.3"), 400),
        (STRUCTURED, EVENT.replace(b'"7"', b"7"), 400),
        (STRUCTURED, b"[]", 400),
        (STRUCTURED, EVENT[:-1] + b',"time":"yesterday"}', 400),
        ([(b"ce-id", b"7")], b"", 400),
        (BATCH, b"[" + EVENT + b",{}]", 400),
        (BATCH, EVENT, 400),
        ([(b"content-type", b"application/cloudevents+xml")], b"<e/>", 415),
        ([*STRUCTURED, (b"ce-id", b"8")], EVENT, 400),
        ([*STRUCTURED, *STRUCTURED], EVENT, 415),
        ([(b"content-type", b"a"), (b"content-type", b"b")], b"", 415),
        ([(b"content-type", b"nonsense")], b"", 400),
        ([(b"webhook-id", b"\xff")], b"", 400),
        ([(b"x-partition-key", b"a" * 5000)], b"", 400),
    ],
)
def test_bad_requests_are_refused(headers: Headers, body: bytes, status: int) -> None:
    with pytest.raises(Malformed) as raised:
        taken(headers, body)
    assert (raised.value.status, raised.value.code) == (status, "E141")


def test_nobody_outside_speaks_for_the_platform() -> None:
    with pytest.raises(Spoofed):
        taken(STRUCTURED, EVENT.replace(b'"/s"', b'"io.evoke.cron"'))


def test_the_path_of_a_webhook() -> None:
    assert default_path(HOOK) == "/webhook/shop/hooks/github"


def hub(secret: str, body: bytes) -> dict[bytes, bytes]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {b"x-hub-signature-256": f"sha256={digest}".encode()}


def standard(key: bytes, body: bytes, at: datetime = NOW, id_: bytes = b"msg_1") -> dict[bytes, bytes]:
    stamp = b"%d" % at.timestamp()
    mac = hmac.new(key, id_ + b"." + stamp + b"." + body, hashlib.sha256).digest()
    return {
        b"webhook-id": id_,
        b"webhook-timestamp": stamp,
        b"webhook-signature": b"v1a,xxxx v1,bm8= v1," + base64.b64encode(mac),
    }


WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        ("s3cret", hub("s3cret", b"body")),
        ("s3cret", standard(b"s3cret", b"body")),
        (WHSEC, standard(b"k" * 24, b"body")),
        (WHSEC, hub(WHSEC, b"body")),
        ("s3cret", standard(b"s3cret", b"body", NOW - timedelta(minutes=4))),
    ],
)
def test_signed_requests(secret: str, headers: dict[bytes, bytes]) -> None:
    signatures.check(secret, list(headers.items()), b"body", now=NOW)
    for wrong, body in (("other", b"body"), (secret, b"bodies")):
        with pytest.raises(BadSignature):
            signatures.check(wrong, list(headers.items()), body, now=NOW)


def test_github_s_own_example() -> None:
    """The vector of GitHub's documentation, "Validating webhook deliveries"."""
    digest = b"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {b"x-hub-signature-256": b"sha256=" + digest}
    signatures.check("It's a Secret to Everybody", list(headers.items()), b"Hello, World!", now=NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"x-hub-signature-256": b""},
        {b"x-hub-signature-256": b"sha1=00"},
        standard(b"s3cret", b"body", NOW - timedelta(minutes=6)),
        standard(b"s3cret", b"body", NOW + timedelta(minutes=6)),
        standard(b"s3cret", b"body", id_=b"a.1"),
        {**standard(b"s3cret", b"body"), b"webhook-timestamp": b"soon"},
        {**standard(b"s3cret", b"body"), b"webhook-signature": b""},
        {**hub("s3cret", b"body"), b"webhook-signature": b"v1,AAAA"},
    ],
)
def test_unsigned_requests(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(BadSignature):
        signatures.check("s3cret", list(headers.items()), b"body", now=NOW)


def test_a_repeated_id_cannot_hide_a_replay() -> None:
    headers = [(b"webhook-id", b"other"), *standard(b"s3cret", b"body").items()]
    with pytest.raises(BadSignature, match="twice"):
        signatures.check("s3cret", headers, b"body", now=NOW)
