"""Rows of bad events against the codec that every publish path uses: one line, the right status, no time, no memory."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed
from eventbus.kafka.records import Record, to_event
from tests.bad_input.corpus import BODIES, EVERY, SPOOFED, STRUCTURED, Row

HANG = 2.0
"""Seconds; against hangs only."""


def taken(row: Row) -> list[bytes]:
    return cloudevents.from_request([(name.encode(), value.encode("latin-1")) for name, value in row.headers], row.body)


@pytest.mark.parametrize("row", EVERY.values(), ids=EVERY.keys())
def test_a_request_is_taken_or_refused_in_one_line(row: Row) -> None:
    if row.says is None:
        for payload in taken(row):
            assert cloudevents.checked(payload, outsider=True).id == "1"
        return
    begun = time.monotonic()
    with pytest.raises((Malformed, Spoofed)) as caught:
        taken(row)

    error = caught.value
    status = error.status if isinstance(error, Malformed) else 403
    assert (status, error.code) == (row.status, "E142" if row.status == 403 else "E141")
    assert row.says in error.message
    assert "\n" not in str(error)
    assert time.monotonic() - begun < HANG


@pytest.mark.parametrize("row", BODIES.values(), ids=BODIES.keys())
def test_a_structured_event_is_refused_wherever_it_comes_from(row: Row) -> None:
    with pytest.raises(Malformed) as caught:
        cloudevents.checked(row.body)

    assert row.says is not None
    assert row.says in caught.value.message


@pytest.mark.parametrize("row", SPOOFED.values(), ids=SPOOFED.keys())
def test_a_function_may_pass_on_what_the_platform_made(row: Row) -> None:
    """Otherwise a function could not return the tick or the message that it got."""
    headers = dict(row.headers)
    if headers["content-type"] == "application/json":
        cloudevents.checked(cloudevents.from_binary(headers, row.body))


def test_refusing_the_worst_takes_no_memory() -> None:
    worst = b'{"a":' * 800_000
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            cloudevents.checked(worst)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 50 << 20


@pytest.mark.parametrize("row", BODIES.values(), ids=BODIES.keys())
def test_what_a_broker_hands_over_never_breaks_its_reader(row: Row) -> None:
    """Bytes that others put there are read for routing: an answer or Malformed, nothing else."""
    with contextlib.suppress(Malformed):
        cloudevents.heading(row.body)
    assert cloudevents.ordering_key(row.body) == ""


@pytest.mark.parametrize("row", BODIES.values(), ids=BODIES.keys())
def test_a_foreign_kafka_record_that_says_it_is_an_event(row: Row) -> None:
    headers = [("content-type", STRUCTURED.encode())]
    record = Record("orders", 3, 17, None, row.body, headers, 0.0)

    with pytest.raises(Malformed) as caught:
        to_event(record, "bus")

    assert caught.value.message.startswith("record orders-3-17: ")
    assert "\n" not in caught.value.message
