"""The window against a naive model, and the edges that the model would hit too seldom."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eventbus.bus import Attempt, Incoming
from proxy.bounds import KEEP_PARKED, MAX_SPAN
from proxy.lanes import Entry
from proxy.transitions import TRANSITIONS, IllegalTransition
from proxy.window import Window


def event(seq: int, key: str = "", payload: bytes = b"{}") -> Incoming:
    return Incoming(0, seq, key, payload, published=float(seq))


def filled(*keys: str, **options: object) -> Window:
    window = Window(**options)  # type: ignore[arg-type] # the tests choose
    for seq, key in enumerate(keys, 1):
        window.receive(event(seq, key), 0.0)
    return window


def seqs(batch: list[Entry]) -> list[int]:
    return [entry.seq for entry in batch]


def test_one_event_per_key_in_a_batch() -> None:
    window = filled("a", "a", "b", "", "")

    assert seqs(window.take(None, 10)) == [1, 3, 4, 5]
    assert window.take(None, 10) == []


def test_ordered_endpoint_takes_a_run_of_a_key_in_order() -> None:
    window = filled("a", "b", "a", "a", "b")

    assert seqs(window.take(None, 10, ordered=True)) == [1, 2, 3, 4, 5]


def test_failure_inside_a_run_keeps_the_rest_behind_it() -> None:
    window = filled("a", "a", "a")
    first, second, third = window.take(None, 10, ordered=True)

    window.finish(first)
    window.release(third)
    window.park(second, 5.0, attempts=1)

    assert window.take(None, 10, ordered=True) == []
    window.wake(5.0)
    assert seqs(window.take(None, 10, ordered=True)) == [2, 3]
    assert window.floor == 1


def test_unknown_blocks_its_key_until_released_and_then_goes_alone() -> None:
    window = filled("a", "b", "a")
    batch = window.take(None, 10)
    for entry in batch:
        window.lose(entry)

    assert window.take(None, 10) == []
    for entry in batch:
        window.release(entry, solo=True)
    assert [seqs(window.take(None, 10)) for _ in range(3)] == [[1], [2], []]


def test_floor_waits_for_the_oldest_and_reports_done_above_it() -> None:
    window = filled("a", "b", "c")
    first, second, third = window.take(None, 10)

    window.finish(third)
    window.finish(second)
    assert (window.floor, set(window.done_above())) == (0, {2, 3})
    window.finish(first)
    assert (window.floor, set(window.done_above())) == (3, set())


def test_takeover_skips_what_was_done_and_keeps_attempts() -> None:
    window = Window(floor=10, done=[12, 14], attempts={11: Attempt(count=3, not_before=0.0, error="E")})

    entries = [window.receive(event(seq), 0.0) for seq in (9, 11, 12, 13, 16)]

    assert [entry and entry.seq for entry in entries] == [None, 11, None, 13, 16]
    assert entries[1] is not None
    assert (entries[1].attempts, entries[1].error) == (3, "E")
    assert set(window.done_above()) == {12, 14}


def test_unmatched_events_are_done_at_once() -> None:
    window = Window()
    window.receive(event(5), 0.0, matched=False)
    assert window.floor == 5

    window.receive(event(6), 0.0)
    window.receive(event(7), 0.0, matched=False)
    assert (window.floor, set(window.done_above()), len(window)) == (5, {7}, 1)


def test_large_parked_payload_is_dropped_and_restored() -> None:
    window = Window()
    window.receive(event(1, payload=b"x" * (KEEP_PARKED + 1)), 0.0)
    (entry,) = window.take(None, 1)
    window.park(entry, 1.0, attempts=1)

    assert (entry.payload, window.held_bytes) == (None, 0)
    assert window.wake(1.0) == [entry]
    assert window.take(None, 1) == []
    window.restore(entry, b"x" * (KEEP_PARKED + 1))
    assert seqs(window.take(None, 1)) == [1]


def test_room_is_bounded_by_count_and_by_span() -> None:
    window = filled("a", "b", capacity=4)
    assert window.room == 2

    spanned = filled("stuck")
    for seq in range(2, MAX_SPAN + 1):
        spanned.receive(event(seq), 0.0, matched=False)
    assert spanned.room == 0


def test_body_limit_splits_batches_but_lets_one_large_event_go() -> None:
    window = Window()
    for seq in (1, 2, 3):
        window.receive(event(seq, payload=b"x" * 600), 0.0)

    assert [seqs(window.take(None, 10, body=1000)) for _ in range(4)] == [[1], [2], [3], []]


def test_reroute_moves_what_waits() -> None:
    window = filled("a", "b")
    window.reroute(lambda key, _seq: key)

    assert sorted(map(str, window.routes())) == ["a", "b"]
    assert seqs(window.take("b", 10)) == [2]


def test_expired_heads_only() -> None:
    window = filled("a", "a", "b")
    window.take(None, 1)

    assert seqs(window.expired(100.0)) == [3]
    assert window.expired(1.0) == []


def test_what_the_table_forbids_raises() -> None:
    window = filled("a")
    (entry,) = window.take(None, 1)
    window.finish(entry)

    with pytest.raises(IllegalTransition, match="done -> waiting"):
        window.release(entry)
    assert {"done"} == {state for state, nexts in TRANSITIONS.items() if not nexts}


class WindowMachine(RuleBasedStateMachine):
    """Any schedule of arrivals, replies, losses and wakes keeps the window's promises."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(capacity=32)
        self.now = 0.0
        self.seq = 0
        self.flying: list[Entry] = []
        self.lost: list[Entry] = []
        self.dying: list[Entry] = []
        self.held: dict[int, str] = {}
        self.finished: dict[str, list[int]] = {}
        self.passed: set[int] = set()

    @precondition(lambda self: self.window.room > 0)
    @rule(gap=st.integers(1, 3), key=st.sampled_from(["", "a", "b", "c"]), matched=st.booleans())
    def arrive(self, gap: int, key: str, matched: bool) -> None:
        self.seq += gap
        entry = self.window.receive(event(self.seq, key), self.now, matched=matched)
        assert (entry is not None) == matched
        if matched:
            self.held[self.seq] = key
        else:
            self.passed.add(self.seq)
        assert self.window.receive(event(self.seq, key), self.now) is None

    @rule(count=st.integers(1, 5), ordered=st.booleans())
    def take(self, count: int, ordered: bool) -> None:
        batch = self.window.take(None, count, ordered=ordered)
        assert len(batch) <= count
        busy = {entry.key for entry in self.flying + self.lost + self.dying if entry.key}
        per_key: dict[str, list[int]] = {}
        for entry in batch:
            assert entry.key not in busy
            if entry.key:
                per_key.setdefault(entry.key, []).append(entry.seq)
        for key, run in per_key.items():
            assert ordered or len(run) == 1
            assert run == sorted(seq for seq, own in self.held.items() if own == key)[: len(run)]
        if any(entry.solo for entry in batch):
            assert len(batch) == 1
        self.flying += batch

    def drop(self, source: list[Entry], pick: int) -> Entry:
        return source.pop(pick % len(source))

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 99), reply=st.sampled_from(["done", "park", "release", "lose", "condemn"]))
    def reply(self, pick: int, reply: str) -> None:
        # replies to a key's run come in order, as our framework answers; a failure leaves the rest omitted
        entry = self.drop(self.flying, pick)
        run = sorted((e for e in self.flying if e.key and e.key == entry.key), key=lambda e: e.seq)
        if run and run[0].seq < entry.seq:
            self.flying.append(entry)
            entry = run[0]
            self.flying.remove(entry)
        if reply != "done":
            for rest in [e for e in self.flying if e.key and e.key == entry.key]:
                self.flying.remove(rest)
                self.window.release(rest)
        self.settle(entry, reply)

    def settle(self, entry: Entry, reply: str) -> None:
        if reply == "done":
            self.window.finish(entry)
            self.finished.setdefault(entry.key, []).append(entry.seq)
            del self.held[entry.seq]
            self.passed.add(entry.seq)
        elif reply == "park":
            self.window.park(entry, self.now + 2, attempts=entry.attempts + 1)
        elif reply == "release":
            self.window.release(entry)
        elif reply == "lose":
            self.window.lose(entry)
            self.lost.append(entry)
        else:
            self.window.condemn(entry)
            self.dying.append(entry)

    @precondition(lambda self: self.lost)
    @rule(pick=st.integers(0, 99), charged=st.booleans())
    def confirm(self, pick: int, charged: bool) -> None:
        entry = self.drop(self.lost, pick)
        if charged:
            self.window.park(entry, self.now + 1, attempts=entry.attempts + 1)
        else:
            self.window.release(entry, solo=True)

    @precondition(lambda self: self.dying)
    @rule(pick=st.integers(0, 99))
    def stored(self, pick: int) -> None:
        self.settle(self.drop(self.dying, pick), "done")

    @rule(step=st.floats(0, 3))
    def wake(self, step: float) -> None:
        self.now += step
        assert self.window.wake(self.now) == []

    @rule()
    def hasten(self) -> None:
        self.window.hasten(self.now)

    @rule()
    def reroute(self) -> None:
        self.window.reroute(lambda _key, _seq: None)

    @invariant()
    def promises(self) -> None:
        window = self.window
        assert len(window) == len(self.held) <= 32
        assert window.in_flight == len(self.flying) + len(self.lost)
        assert window.held_bytes == 2 * len(self.held)
        unfinished = min(self.held, default=self.seq + 1)
        below = [seq for seq in self.passed if seq < unfinished]
        assert window.floor == max(below, default=0)
        assert set(window.done_above()) == {seq for seq in self.passed if seq > window.floor}
        for key, done in self.finished.items():
            assert not key or done == sorted(done)
        busy = {e.key for e in self.flying + self.lost + self.dying if e.key}
        heads: dict[str, int] = {}
        for seq, key in sorted(self.held.items()):
            heads.setdefault(key or str(seq), seq)
        free = [s for k, s in heads.items() if k not in busy and self.state(s) == "waiting"]
        assert window.runnable == len(free)

    def state(self, seq: int) -> str:
        return next(entry.state for entry in self.window if entry.seq == seq)

    def teardown(self) -> None:
        """Whatever happened, everything can still be finished: nothing is stranded."""
        for entry in self.lost:
            self.window.release(entry)
        for entry in [*self.flying, *self.dying]:
            self.window.finish(entry)
        for _ in range(200):
            self.window.wake(self.now + 10)
            batch = self.window.take(None, 5, ordered=True)
            for entry in batch:
                self.window.finish(entry)
        assert (len(self.window), self.window.floor) == (0, self.seq)


TestWindowMachine = WindowMachine.TestCase
TestWindowMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, derandomize=True)


def test_a_blocked_key_waits_whatever_comes_and_goes_meanwhile() -> None:
    window = Window()
    window.block("a")
    window.block("a")
    for seq, key in enumerate(["a", "b", "a"], 1):
        window.receive(Incoming(0, seq, key, b"x"), 0.0)
    assert [entry.seq for entry in window.take(None, 9)] == [2]

    (first,) = (entry for entry in window if entry.seq == 1)
    window.condemn(first)  # it expired
    window.finish(first)
    window.unblock("a")
    assert window.take(None, 9) == []
    window.unblock("a")
    assert [entry.seq for entry in window.take(None, 9)] == [3]
    assert not window._lanes.keys() - {"a", "b"}


def test_one_parked_key_bounds_what_is_held_and_lets_the_others_flow() -> None:
    window = Window(capacity=4096)
    window.receive(Incoming(0, 1, "bad", b"x" * 100), 0.0)
    (head,) = window.take(None, 1)
    window.park(head, 60.0, attempts=1)
    seq, passed, most = 1, 0, 0
    while passed < 100_000:
        for _ in range(min(64, window.room)):
            seq += 1
            window.receive(Incoming(0, seq, f"k{seq % 50}", b"x" * 100), 0.0)
        most = max(most, len(window))
        done = window.take(None, 64, ordered=True)
        for entry in done:
            window.finish(entry)
        passed += len(done)
        if not done:  # as many as a broker can record lie above the parked head: it is tried again, and fails
            assert window.room == 0
            assert len(window) == 1
            window.wake(60.0)
            (again,) = window.take(None, 1)
            assert again is head
            window.finish(again)
            seq += 1
            window.receive(Incoming(0, seq, "bad", b"x" * 100), 0.0)
            (head,) = window.take(None, 1)
            window.park(head, 60.0, attempts=1)

    assert most <= 65
    assert window.held_bytes <= 6500
    assert len(window.done_above()) <= MAX_SPAN
