"""Every reply a replica can give, what is charged for it, and what people read about it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.delivery import DeliveryPolicy
from proxy.batching import HandlerTime
from proxy.breaker import Breaker
from proxy.outcomes import (
    DONE,
    FENCED,
    NOT_STARTED,
    RELEASE,
    Bury,
    Done,
    Outcome,
    Park,
    Release,
    describe,
    judge,
    of_bulk,
    of_single,
)
from proxy.retry_after import retry_after

POLICY = DeliveryPolicy(max_attempts=3)
NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z"""
KEY_ERROR = b'{"status":"RETRY","error":{"type":"KeyError","message":"\'celcius\'","file":"/srv/f/main.py","line":9}}'


@pytest.mark.parametrize(
    ("status", "headers", "body", "want"),
    [
        (200, {}, b"", DONE),
        (200, {}, b"null", DONE),
        (204, {}, b"", DONE),
        (200, {}, b"<html>", DONE),
        (200, {}, b'{"status":"SUCCESS"}', DONE),
        (200, {}, b'{"status":"RETRY"}', Outcome("failed", "retry asked by the handler")),
        (
            200,
            {},
            b'{"status":"RETRY","after_ms":1500}',
            Outcome("failed", "retry asked by the handler", timedelta(seconds=1.5)),
        ),
        (200, {}, KEY_ERROR, Outcome("failed", "KeyError 'celcius' (main.py:9)")),
        (200, {}, b'{"status":"LATER"}', Outcome("failed", "status LATER")),
        (200, {}, b'{"status":"DROP","reason":"no such vehicle"}', Outcome("rejected", "no such vehicle")),
        (
            200,
            {},
            b'{"status":"RETRY","reason":"still-running","error":{"type":"TimeoutError","message":"after 1 s"}}',
            Outcome("running", "TimeoutError after 1 s"),
        ),
        (404, {}, b"", Outcome("unroutable", "HTTP 404: the function has no handler at this path", code=404)),
        (409, {b"evoke-epoch": b"7"}, b"", FENCED),
        (409, {}, b"", Outcome("failed", "HTTP 409", code=409)),
        (503, {b"evoke-not-started": b"1"}, b"", NOT_STARTED),
        (503, {}, b"", Outcome("failed", "HTTP 503", code=503)),
        (503, {b"retry-after": b"120"}, b"", Outcome("failed", "HTTP 503", timedelta(minutes=2), 503)),
        (500, {b"retry-after": b"120"}, b"Traceback", Outcome("failed", "HTTP 500", code=500)),
    ],
)
def test_single_reply(status: int, headers: dict[bytes, bytes], body: bytes, want: Outcome) -> None:
    assert of_single(status, headers, body, NOW) == want


@pytest.mark.parametrize(
    ("outcome", "tried_again"),
    [
        (Outcome("failed", "", code=500), True),
        (Outcome("failed", "", code=429), True),
        (Outcome("failed", "", code=400), False),
        (Outcome("failed", "", grpc=14), True),
        (Outcome("failed", "", grpc=3), False),
        (Outcome("failed", "asked by the handler"), True),
    ],
)
def test_only_the_codes_that_a_policy_names_are_tried_again(outcome: Outcome, *, tried_again: bool) -> None:
    policy = DeliveryPolicy(retry_statuses="429, 500-599", retry_codes="13-14")

    verdict = judge(policy, outcome, attempts=0, alone=True, spread=0.0)

    assert isinstance(verdict, Park if tried_again else Bury)


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "0", 0),
        (429, "90", 90),
        (503, " 7 ", 7),
        (503, "999999999999", 3600),
        (503, "Fri, 15 Jan 2027 08:00:30 GMT", 30),
        (503, "Friday, 15-Jan-27 08:00:30 GMT", 30),
        (503, "Fri, 15 Jan 2027 07:00:00 GMT", 0),
        (503, "Sat, 15 Jan 2028 08:00:00 GMT", 3600),
        (503, "-1", None),
        (503, "1.5", None),
        (503, "soon", None),
        (503, "", None),
        (500, "90", None),
        (301, "90", None),
    ],
)
def test_retry_after(status: int, value: str, seconds: int | None) -> None:
    want = None if seconds is None else timedelta(seconds=seconds)

    assert retry_after(status, {b"retry-after": value.encode()}, NOW) == want


def test_bulk_reply_by_entry() -> None:
    body = (
        b'{"statuses":[{"entryId":"3","status":"DROP"},{"entryId":"1","status":"SUCCESS"},{"entryId":"2","status":""}]}'
    )

    assert [outcome.kind for outcome in of_bulk(200, {}, body, ["1", "2", "3", "4"], NOW)] == [
        "done",
        "failed",
        "rejected",
        "not-started",
    ]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (500, {}, b"", "unclear"),
        (404, {}, b"", "unclear"),
        (200, {}, b"hello", "unclear"),
        (503, {b"evoke-not-started": b"1"}, b"", "not-started"),
        (409, {b"evoke-epoch": b"7"}, b"", "fenced"),
    ],
)
def test_bulk_reply_as_a_whole(status: int, headers: dict[bytes, bytes], body: bytes, kind: str) -> None:
    assert [outcome.kind for outcome in of_bulk(status, headers, body, ["1", "2"], NOW)] == [kind, kind]


@pytest.mark.parametrize(
    ("outcome", "attempts", "alone", "want"),
    [
        (DONE, 2, True, Done()),
        (NOT_STARTED, 2, True, RELEASE),
        (FENCED, 2, True, RELEASE),
        (Outcome("rejected", "no"), 0, True, Bury("rejected", "no", 1)),
        (Outcome("unroutable", "404"), 0, True, Bury("unroutable", "404", 1)),
        (Outcome("failed", "E"), 0, False, Park(1, timedelta(seconds=1), "E")),
        (Outcome("failed", "E"), 1, True, Park(2, timedelta(seconds=2), "E")),
        (Outcome("failed", "E", timedelta(seconds=9)), 1, True, Park(2, timedelta(seconds=9), "E")),
        (Outcome("failed", "E", timedelta(seconds=9), 503), 1, True, Park(2, timedelta(seconds=9), "E")),
        (Outcome("failed", "E", timedelta(0), 503), 1, True, Park(2, timedelta(seconds=2), "E")),
        (Outcome("failed", "E", timedelta(0)), 1, True, Park(2, timedelta(0), "E")),
        (Outcome("failed", "E"), 2, True, Bury("max-attempts", "E", 3)),
        (Outcome("failed", "E", None, 500), 2, True, Bury("max-attempts", "E", 3, 500)),
        (Outcome("running", "late"), 0, False, Park(1, timedelta(seconds=1), "late")),
        (Outcome("unclear", "HTTP 500"), 0, False, Release(solo=True)),
        (Outcome("unknown", "gone"), 2, False, Release(solo=True)),
        (Outcome("unknown", "gone"), 0, True, Park(1, timedelta(seconds=1), "gone")),
        (Outcome("unknown", "gone"), 2, True, Bury("max-attempts", "gone", 3)),
    ],
)
def test_verdict(outcome: Outcome, attempts: int, alone: bool, want: object) -> None:
    assert judge(POLICY, outcome, attempts=attempts, alone=alone, spread=0.0) == want


def test_notice_reads_like_the_transcript() -> None:
    policy = DeliveryPolicy()
    verdict = judge(policy, of_single(200, {}, KEY_ERROR, NOW), attempts=0, alone=True, spread=0.4)

    assert isinstance(verdict, Park)
    assert describe(policy, verdict) == "attempt 1 of 10 failed: KeyError 'celcius' (main.py:9); again in 1 s"
    assert describe(POLICY, Bury("max-attempts", "E", 3)) == "attempt 3 of 3 failed: E; to the dead letters"
    assert describe(POLICY, Bury("rejected", "no", 1)) == "rejected: no; to the dead letters"


def test_breaker_opens_after_a_row_of_failures_and_probes_ever_slower() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.failure(0.0, parked=1, capacity=100)
    assert not breaker.allows(0.5, in_flight=0)
    assert breaker.allows(1.0, in_flight=0)
    assert not breaker.allows(1.0, in_flight=1)

    waits = []
    for _ in range(7):
        now = breaker.next_probe
        breaker.failure(now, parked=1, capacity=100)
        waits.append(breaker.next_probe - now)
    assert waits == [2, 4, 8, 16, 30, 30, 30]

    breaker.success()
    assert breaker.allows(0.0, in_flight=5)


def test_breaker_opens_when_parked_events_fill_half() -> None:
    breaker = Breaker()
    breaker.failure(0.0, parked=49, capacity=100)
    assert not breaker.open
    breaker.failure(0.0, parked=50, capacity=100)
    assert breaker.open


@pytest.mark.parametrize(
    ("elapsed", "events", "credit", "largest", "want"),
    [
        (0.0001, 19, 32, 100, 1),
        (0.0001, 20, 32, 100, 32),
        (0.0001, 20, 500, 100, 100),
        (0.0001, 20, 500, 50, 50),
        (0.001, 20, 500, 100, 25),
        (0.005, 20, 500, 100, 1),
        (0.0001, 20, 500, 0, 1),
        (0.0001, 20, 0, 0, 0),
    ],
)
def test_batch_size(elapsed: float, events: int, credit: int, largest: int, want: int) -> None:
    time = HandlerTime()
    for _ in range(events):
        time.add(elapsed * 2, 1, 2)

    assert time.batch(credit, largest) == want
