"""Handlers that end badly in every way there is: they cost their own attempts, and their neighbours nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.arena import World
from tests.faults.campaign import SUBSCRIPTION, dead, drain
from tests.faults.events import letters
from tests.faults.producers import Message, message
from tests.faults.trials import arena
from tests.platform import until

pytestmark = pytest.mark.platform
HTTP = World(bus="embedded", source="http")
WAYS = ("exception", "exit", "killed", "segfault", "memory", "hang")

POISONED = """
import ctypes
import functions_framework as ff

@ff.batch(max_size=100)
def ledger(events):
    for event in events:
        if event.data["n"] == 50:
            ctypes.string_at(0)
    hand_in(*(receipt(event.data, 1) for event in events))
"""


def flow(numbers: range, bad: dict[int, str], fails: int) -> list[Message]:
    """Every event takes 10 ms: long enough to travel alone, so that a crash is one attempt and not two."""
    return [message(n, f"k{n % 16}", work=0.01, fails=fails if n in bad else 0, how=bad.get(n, "")) for n in numbers]


def test_each_way_to_fail_is_tried_again_and_harms_no_neighbour(tmp_path: Path) -> None:
    bad = {50 + 23 * n: way for n, way in enumerate(WAYS)}
    with arena(tmp_path, HTTP, timeout="2s", concurrency=1, replicas=(3, 4)) as it:
        it.producer.publish(flow(range(40), {}, fails=0))
        drain(it)
        it.producer.publish(flow(range(40, 200), bad, fails=1))
        drain(it)
        verdict = it.ledger.verdict(dead(it))
        attempts = {one.number: one.attempt for one in it.ledger.received()}

    print(verdict)
    assert verdict.clean, verdict
    assert verdict.dead == 0
    assert {n for n, attempt in attempts.items() if attempt == 2} == set(bad)
    assert {attempt for n, attempt in attempts.items() if n not in bad} == {1}


def test_what_always_fails_is_dead_once_and_holds_up_its_own_key_only(tmp_path: Path) -> None:
    bad = dict.fromkeys(range(43, 100, 10), "exception") | {71: "exit"}
    with arena(tmp_path, HTTP, retry=2, concurrency=1, replicas=(2, 4)) as it:
        it.producer.publish(flow(range(40), {}, fails=0))
        drain(it)
        it.producer.publish(flow(range(40, 120), bad, fails=99))
        until(lambda: len(letters(it.platform, SUBSCRIPTION)) == len(bad), what="every letter")
        drain(it)
        found = letters(it.platform, SUBSCRIPTION)
        verdict = it.ledger.verdict(dead(it))

    assert verdict.clean, verdict
    assert {letter["event"]["data"]["n"] for letter in found} == set(bad)
    assert {(letter["reason"], letter["attempts"]) for letter in found} == {("max-attempts", 2)}
    assert all(letter["event"]["data"]["id"] == letter["event"]["id"] for letter in found), "the original event"


def test_poison_in_a_batch_of_a_hundred_is_found_alone(tmp_path: Path) -> None:
    with arena(tmp_path, HTTP, code=POISONED, retry=2, concurrency=100, replicas=(1, 1)) as it:
        it.producer.publish(flow(range(100), {}, fails=0))
        until(lambda: dead(it), what="the letter of the poison")
        drain(it)
        found = letters(it.platform, SUBSCRIPTION)
        verdict = it.ledger.verdict(dead(it), budget=0)

    assert verdict.clean, verdict
    assert [(letter["event"]["data"]["n"], letter["attempts"]) for letter in found] == [(50, 2)]
