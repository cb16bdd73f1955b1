"""Events without order: a retry that is far away takes no room from others, and is not forgotten."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from api.delivery import Backoff, DeliveryPolicy
from api.model import Bus
from eventbus.bus import Incoming
from eventbus.connect import connect
from proxy import intake, loose, settle
from proxy.lanes import Entry
from proxy.loose import AT_ONCE, LooseWindow
from proxy.moved import mark, unmark
from tests.brokers import start_nats
from tests.kafka import start_kafka
from tests.proxy.plant import Answer, Plant, Replica, event, subscription, until

LOOSE = DeliveryPolicy(ordering="none", backoff=Backoff(initial=timedelta(minutes=5), cap=timedelta(minutes=5)))


def window(count: int, capacity: int = 10) -> LooseWindow:
    made = LooseWindow(capacity=capacity)
    for seq in range(1, count + 1):
        made.receive(Incoming(0, seq, "", b"x" * 100), 0.0)
    return made


def put_away(made: LooseWindow, count: int, until: float) -> None:
    for entry in made.take(None, count):
        made.park(entry, until, attempts=1)
        made.leave(entry, until)


def test_what_is_outside_takes_no_room_and_no_bytes() -> None:
    made = window(10)
    assert (made.room, made.held_bytes) == (0, 1000)
    put_away(made, 10, 60.0)

    assert (made.room, made.held_bytes, made.asleep, len(made), made.parked) == (10, 0, 10, 10, 10)
    assert made.floor == 0
    assert made.next_wake() == 60.0


def test_they_come_back_a_few_at_a_time_and_only_where_there_is_room() -> None:
    made = window(200, capacity=500)
    put_away(made, 200, 60.0)

    assert made.wake(59.9) == []
    first = made.wake(60.0)
    assert len(first) == AT_ONCE
    for entry in first:
        made.restore(entry, b"x" * 100)
    assert (made.asleep, made.runnable, made.next_wake()) == (200 - AT_ONCE, AT_ONCE, 60.0 + loose.LATER)
    assert len(made.wake(61.0)) == AT_ONCE

    full = window(10, capacity=10)
    put_away(full, 10, 60.0)
    for seq in range(11, 20):
        full.receive(Incoming(0, seq, "", b"y"), 0.0)
    assert len(full.wake(60.0)) == 1


def test_what_holds_the_floor_is_moved_once_it_holds_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose, "PINNED", 50)
    made = window(60, capacity=100)
    put_away(made, 3, 60.0)
    for entry in made.take(None, 57):
        made.finish(entry)
    assert [(entry.seq, until) for entry, until in made.pinning(2)] == [(1, 60.0), (2, 60.0)]

    for entry, _ in made.pinning(10):
        made.condemn(entry)
        made.finish(entry)
    assert (made.floor, made.asleep, made.pinning(10)) == (60, 0, [])


def test_marks_are_taken_off_and_the_bytes_are_what_they_were() -> None:
    payload = event(1, text="\u00e9 1.10")
    marked = mark(payload, 3, 1_800_000_000.123)

    assert json.loads(marked)["evokenotbefore"] == "2027-01-15T08:00:00.123Z"
    found = unmark(marked)
    assert found is not None
    assert (found.payload, found.attempts, found.not_before) == (payload, 3, 1_800_000_000.123)
    assert unmark(payload) is None
    assert unmark(b'{"evokeattempts":3,"evokenotbefore":"2027-99-99","id":"1"}') is None


async def some_fail(one: Answer) -> Answer:
    return {"status": "RETRY" if one["data"]["n"] % 3 == 0 else "SUCCESS"}


def test_retries_that_are_far_away_stop_nobody() -> None:
    async def scenario() -> None:
        async with Plant(subscription(delivery=LOOSE, in_flight=64)) as plant:
            replica = Replica(some_fail)
            await plant.scale(replica)
            await plant.publish(*(event(n) for n in range(900)))
            await until(lambda: plant.reading.done == 600, 10)

            assert plant.owner.hold is not None
            await until(lambda: plant.owner.hold is not None and plant.owner.hold.asleep == 300)
            assert (plant.reading.lag, plant.reading.parked, plant.reading.condition) == (300, 300, "")
            assert plant.owner.hold.windows[0].held_bytes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "kind", ["memory", pytest.param("nats", marks=pytest.mark.broker), pytest.param("kafka", marks=pytest.mark.broker)]
)
def test_a_moved_event_keeps_its_attempts_its_time_and_its_bytes(
    kind: Literal["memory", "nats", "kafka"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loose, "PINNED", 50)
    for module in (settle, intake):
        monkeypatch.setattr(module, "FAR", 0.3)
    times: list[float] = []
    moves: list[int] = []
    move = settle.Settler.move

    def moving(settler: settle.Settler, window: LooseWindow, entry: Entry, until: float) -> None:
        moves.append(entry.seq)
        move(settler, window, entry, until)

    monkeypatch.setattr(settle.Settler, "move", moving)

    async def handler(one: Answer) -> Answer:
        if one["data"]["n"]:
            return {"status": "SUCCESS"}
        times.append(asyncio.get_running_loop().time())
        return {"status": "RETRY", "reason": "not yet"}

    async def scenario(options: dict[str, str]) -> None:
        backoff = Backoff(initial=timedelta(seconds=1.5), factor=1.0)
        policy = msgspec.structs.replace(LOOSE, max_attempts=3, backoff=backoff)
        bus = connect(Bus(key=subscription().bus, kind=kind, options=dict(options)), str)
        async with Plant(subscription(delivery=policy), bus) as plant:
            replica = Replica(handler)
            await plant.scale(replica)
            await plant.publish(event(0))
            await until(lambda: plant.reading.parked == 1)
            await plant.publish(*(event(n) for n in range(1, 120)))
            await plant.drained(20)
            assert moves
            (letter,) = await plant.letters()
            assert (letter.reason, letter.attempts, letter.payload) == ("max-attempts", 3, event(0))
            assert [b - a >= 1.4 for a, b in itertools.pairwise(times)] == [True, True]
            assert replica.attempts["0"] == 3
        await bus.close()

    broker = start_nats(tmp_path) if kind == "nats" else start_kafka(tmp_path) if kind == "kafka" else None
    try:
        asyncio.run(scenario(broker.options if broker is not None else {}))
    finally:
        if broker is not None:
            broker.stop()


def test_what_is_no_event_is_a_dead_letter_without_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            bus: Any = plant.bus
            bus._topic(subscription().subject).add(b"\xff\x00", "a")  # as somebody else's client may
            await plant.publish(event(1, key="a"))
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.reason, letter.attempts, letter.payload) == ("malformed", 0, b"\xff\x00")
            assert replica.numbers == [1]

    asyncio.run(scenario())
