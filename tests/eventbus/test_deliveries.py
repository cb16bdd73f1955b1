"""The wire of JetStream's pulls, by the replies that servers write (ADR-13, ADR-15)."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from eventbus.jetstream import deliveries


class Told(NamedTuple):
    """A message as a subscription receives it."""

    reply: str = ""
    headers: dict[str, str] | None = None
    subject: str = "s"
    data: bytes = b""


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.EV.owner-1.1.41.7.1700000000000000001.3",
        "$JS.ACK.hub.ACCOUNT.EV.owner-1.1.41.7.1700000000000000001.3",
        "$JS.ACK.hub.ACCOUNT.EV.owner-1.1.41.7.1700000000000000001.3.random",
    ],
)
def test_a_reply_says_where_its_message_stands(reply: str) -> None:
    assert deliveries.delivered(Told(reply)) == (41, 1700000000000000001)


def test_what_is_no_message_says_why() -> None:
    ran_out = deliveries.ended(Told(headers={"Status": "408", "Nats-Pending-Messages": "3", "Description": "Timeout"}))
    gone = deliveries.ended(Told(headers={"Status": "409", "Description": "Consumer Deleted"}))
    beat = deliveries.ended(Told(headers={"Status": "100"}))

    assert deliveries.delivered(Told()) is None
    assert (ran_out.left, ran_out.heartbeat) == (3, False)
    assert (gone.left, gone.description) == (None, "Consumer Deleted")
    assert beat.heartbeat


def test_a_pull_says_only_what_was_asked() -> None:
    assert json.loads(deliveries.request(5, expires=0.5)) == {"batch": 5, "expires": 500_000_000}
    whole = json.loads(deliveries.request(1, expires=30, heartbeat=5, max_bytes=9))
    assert whole == {"batch": 1, "expires": 30_000_000_000, "idle_heartbeat": 5_000_000_000, "max_bytes": 9}
    assert deliveries.target("EV", "c", "$JS.hub.API") == "$JS.hub.API.CONSUMER.MSG.NEXT.EV.c"
