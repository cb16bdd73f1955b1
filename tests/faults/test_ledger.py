"""The checker must see each kind of damage, or a clean verdict means nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.faults.journal import RECEIPT, Ledger
from tests.faults.ledger import Receipt, Sent, digest, judge

EVENTS = [Receipt(f"p-{n}", f"k{n % 2}", n, digest(f"p-{n}", f"k{n % 2}", n, "x")) for n in range(6)]
KNOWN = {event.id: event for event in EVENTS}
SENT = Sent(KNOWN, set(KNOWN))


def test_clean_run() -> None:
    verdict = judge(SENT, EVENTS, budget=0)

    assert verdict.clean, verdict
    assert verdict.received == 6


@pytest.mark.parametrize(
    ("receipts", "finding"),
    [
        (EVENTS[:5], "lost"),
        ([*EVENTS, Receipt("p-99", "k1", 99)], "phantom"),
        ([EVENTS[2], EVENTS[0], EVENTS[1], *EVENTS[3:]], "misordered"),
        ([*EVENTS[:5], msgspec.structs.replace(EVENTS[5], digest="0" * 16)], "corrupt"),
        ([*EVENTS[:5], msgspec.structs.replace(EVENTS[5], key="k0")], "corrupt"),
        ([*EVENTS, EVENTS[0], EVENTS[1]], "duplicates over budget"),
    ],
)
def test_damage_is_seen(receipts: list[Receipt], finding: str) -> None:
    verdict = judge(SENT, receipts, budget=1)

    assert list(verdict.findings) == [finding]


@pytest.mark.parametrize(
    ("handled", "where"),
    [
        (EVENTS[2:], {"prefix": 2}),
        (EVENTS[:4], {"postfix": 2}),
        ([EVENTS[0], EVENTS[1], EVENTS[5]], {"middle": 3}),
        ([EVENTS[1], EVENTS[3]], {"middle": 1, "postfix": 2, "prefix": 1}),
        ([], {"postfix": 6}),
    ],
)
def test_what_is_lost_is_told_by_its_place(handled: list[Receipt], where: dict[str, int]) -> None:
    assert judge(SENT, handled).lost_where == where


def test_dead_letters_are_not_lost_and_come_once() -> None:
    assert judge(SENT, EVENTS[:5], ["p-5"]).clean
    assert judge(SENT, EVENTS[:5], ["p-5", "p-5"]).findings == {"twice dead": 1}


def test_a_duplicate_is_counted_and_does_not_break_order() -> None:
    verdict = judge(SENT, [*EVENTS, EVENTS[0]], budget=1)

    assert verdict.clean
    assert verdict.duplicates == 1


def test_unknown_publishes_may_go_either_way_and_refused_ones_may_not() -> None:
    three = {event.id for event in EVENTS[:3]}

    assert judge(Sent(KNOWN, three), EVENTS[:3]).clean
    assert judge(Sent(KNOWN, three), EVENTS).clean
    assert judge(Sent(KNOWN, three, {"p-5"}), EVENTS).findings == {"phantom": 1}
    assert judge(Sent(KNOWN, three), EVENTS[:3]).unknown == 3


def run_handler(ledger: Ledger, events: Sequence[Receipt], attempt: int = 1) -> None:
    """Let another process hand in receipts, with the code that the functions carry."""
    sent = [{"id": one.id, "key": one.key, "n": one.number, "body": "x"} for one in events]
    code = f"{RECEIPT}\nhand_in(*(receipt(sent, {attempt}) for sent in {sent!r}))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "RECEIPTS": str(ledger.receipts)}, check=True)


def test_files_hold_what_happened_also_for_who_opens_them_later(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.intend(*EVENTS)
        ledger.ack("p-0", "p-1")
        ledger.fail("p-5")
        ledger.doubt("p-4")
        run_handler(ledger, EVENTS[:1])
        assert ledger.missing() == 1
        run_handler(ledger, EVENTS[1:2], attempt=2)
        assert ledger.missing() == 0

    with Ledger(tmp_path) as ledger:
        verdict = ledger.verdict(budget=0)

    assert verdict.clean, verdict
    assert (verdict.intended, verdict.acked, verdict.failed, verdict.unknown, verdict.received) == (6, 2, 1, 3, 2)
    assert [receipt.attempt for receipt in ledger.received()] == [1, 2]


def test_a_torn_receipt_spoils_no_other(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.intend(*EVENTS)
        ledger.ack("p-0", "p-1")
        run_handler(ledger, EVENTS[:1])
        with ledger.receipts.open("a") as file:
            file.write("\np-1 k1 1 ab")
        assert ledger.missing() == 1
        run_handler(ledger, EVENTS[1:2])

        assert ledger.missing() == 0
        assert ledger.verdict(budget=0).clean
