"""The checker must see each kind of damage, or a clean verdict means nothing."""

from __future__ import annotations

import pytest

from tests.faults.ledger import Receipt, judge

SENT = [Receipt(f"p-{n}", f"k{n % 2}", n) for n in range(6)]
ACKED = [receipt.id for receipt in SENT]


def test_clean_run() -> None:
    verdict = judge(SENT, ACKED, SENT, [])

    assert verdict.clean
    assert verdict.received == 6


@pytest.mark.parametrize(
    ("receipts", "dead", "damage"),
    [
        (SENT[:5], [], "lost"),
        ([*SENT, Receipt("p-99", "k1", 99)], [], "phantom"),
        ([SENT[2], SENT[0], SENT[1], SENT[3], SENT[4], SENT[5]], [], "misordered"),
    ],
)
def test_damage_is_seen(receipts: list[Receipt], dead: list[str], damage: str) -> None:
    verdict = judge(SENT, ACKED, receipts, dead)

    assert not verdict.clean
    assert getattr(verdict, damage)


def test_dead_letters_are_not_lost() -> None:
    assert judge(SENT, ACKED, SENT[:5], ["p-5"]).clean


def test_a_duplicate_is_counted_and_does_not_break_order() -> None:
    verdict = judge(SENT, ACKED, [*SENT, SENT[0]], [])

    assert verdict.clean
    assert verdict.duplicates == 1


def test_unacknowledged_events_may_go_either_way() -> None:
    assert judge(SENT, ACKED[:3], SENT[:3], []).clean
    assert judge(SENT, ACKED[:3], SENT, []).clean
