"""Every promise of eventbus.bus, on each backend that keeps it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents, intake, pulls
from eventbus.bus import Attempt, DeadLetter, EventBus, Incoming, Intake
from eventbus.connect import NotYet, connect
from eventbus.errors import AuthFailed, BusError, BusFull, Fenced, LagUnknown, TooLarge, Unreachable
from tests.brokers import Nats, start_nats

TIMEOUT = 10.0
namespaces = (f"ns{number}" for number in itertools.count())


def plain(option: Option) -> str:
    assert isinstance(option, str)
    return option


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("bus"), "os")
    yield nats
    nats.stop()


class Broker:
    """One empty bus; connect() gives one more connection to it, as another process would have."""

    def __init__(self, kind: str, options: dict[str, str]) -> None:
        self.kind = kind
        self.key = Key(next(namespaces), "default")
        self.options = dict(options)
        self._memory: EventBus | None = None
        self._open: list[EventBus] = []

    async def connect(self) -> EventBus:
        if self.kind == "memory" and self._memory is not None:
            return self._memory
        bus = connect(Bus(key=self.key, kind=self.kind, options=dict(self.options)), plain)  # type: ignore[arg-type]  # literal from the fixture's parameter
        await bus.connect()
        self._open.append(bus)
        if self.kind == "memory":
            self._memory = bus
        return bus

    def subscription(self, subject: str = "topic", group: str = "g", **fields: Any) -> Subscription:
        return Subscription(
            key=Key(self.key.namespace, group), bus=self.key, subject=subject, group=group, **{"start": "all", **fields}
        )

    def run(self, test: Callable[[EventBus], Coroutine[None, None, None]]) -> None:
        async def main() -> None:
            try:
                async with asyncio.timeout(60):
                    await test(await self.connect())
            finally:
                for bus in self._open:
                    await bus.close()

        asyncio.run(main())


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.broker)])
def broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.param, request.getfixturevalue("server").options if request.param == "nats" else {})


@pytest.fixture
def real(server: Nats) -> Broker:
    return Broker("nats", server.options)


class Owner:
    """Keeps what an intake delivers, and waits for it."""

    def __init__(self) -> None:
        self.events: list[Incoming] = []
        self.lost: list[str] = []
        self.intake: Intake
        self._changed = asyncio.Event()

    @classmethod
    async def open(cls, bus: EventBus, subscription: Subscription) -> Owner:
        owner = cls()
        owner.intake = await bus.open(subscription, worker="test", deliver=owner._deliver, lost=owner._lose)
        return owner

    def _deliver(self, events: Sequence[Incoming]) -> None:
        self.events.extend(events)
        self._changed.set()

    def _lose(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def wait(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    async def take(self, count: int) -> list[Incoming]:
        """The next *count* events."""
        before = len(self.events)
        self.intake.request(count)
        await self.wait(lambda: len(self.events) >= before + count)
        return self.events[before:]

    async def until_lost(self) -> str:
        await self.wait(lambda: self.lost)
        return self.lost[0]


def event(number: int, key: str = "", size: int = 0) -> bytes:
    extensions = {"partitionkey": key} if key else {}
    return cloudevents.encode(
        id=str(number), source="/test", type="t", body=json.dumps("x" * size).encode(), extensions=extensions
    )


def ids(events: Sequence[Incoming]) -> list[int]:
    return [int(cloudevents.heading(incoming.payload).id) for incoming in events]


async def fill(bus: EventBus, count: int, first: int = 0, subject: str = "topic") -> None:
    await asyncio.gather(*(bus.publish(subject, event(number)) for number in range(first, first + count)))


def test_events_arrive_in_the_order_of_their_publishing(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 500)
        events = await owner.take(500)

        assert ids(events) == list(range(500))
        assert [e.seq for e in events] == sorted(e.seq for e in events)
        assert owner.intake.outstanding() == 0

    broker.run(test)


def test_no_more_arrives_than_was_asked_for(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 20)
        await owner.take(3)
        owner.intake.request(4)
        await owner.take(3)
        pending = await owner.intake.pending()

        assert ids(owner.events) == list(range(10))
        assert pending == 10

    broker.run(test)


def test_keys_and_payload_come_as_published(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        before = datetime.now(UTC).timestamp()
        await bus.publish("topic", event(0, "a"))
        await bus.publish("topic", event(1), key="b")
        await bus.publish("topic", event(2))
        events = await owner.take(3)

        assert [e.key for e in events] == ["a", "b", ""]
        assert events[0].payload.startswith(b'{"specversion"')
        assert cloudevents.ordering_key(events[1].payload) == "b"
        assert abs(events[0].published - before) < 5
        assert await owner.intake.read(0, events[2].seq) == events[2].payload

    broker.run(test)


def test_a_new_owner_takes_over_floor_done_and_attempts(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 10)
        seqs = [e.seq for e in await first.take(10)]
        await first.intake.commit(0, seqs[3], [seqs[5], seqs[7]])
        await first.intake.record_attempt(0, seqs[4], Attempt(count=2, not_before=7.5, error="boom"))
        await first.intake.record_attempt(0, seqs[1], Attempt(count=1, not_before=1.0))
        await asyncio.sleep(1.2 if broker.kind == "nats" else 0)  # the done map is written once a second
        second = await Owner.open(await broker.connect(), subscription)
        progress = second.intake.progress
        reason = await first.until_lost()
        again = await second.take(6)

        assert second.intake.epoch > first.intake.epoch
        assert progress.floors == {0: seqs[3]}
        assert set(progress.done[0]) == {seqs[5], seqs[7]}
        assert progress.attempts == {(0, seqs[4]): Attempt(count=2, not_before=7.5, error="boom")}
        assert [e.seq for e in again] == seqs[4:]
        assert "another owner" in reason
        assert not first.intake.fresh
        assert second.intake.fresh

    broker.run(test)


def test_a_stale_owner_moves_nothing(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 10)
        seqs = [e.seq for e in await first.take(10)]
        second = await Owner.open(await broker.connect(), subscription)
        await first.intake.commit(0, seqs[9], [])
        first.intake.request(5)
        again = await second.take(10)
        await second.intake.commit(0, seqs[1], [])
        lag = await settled(bus, subscription, 8)
        await first.until_lost()

        assert ids(again) == list(range(10))
        assert lag == 8
        assert len(first.events) == 10
        with pytest.raises(Fenced):
            await first.intake.record_attempt(0, seqs[2], Attempt(count=1, not_before=0))

    broker.run(test)


async def settled(bus: EventBus, subscription: Subscription, expected: int) -> int:
    """lag() once it is as expected, or what it is at the end: an ack has no answer to wait for."""
    lag = -1
    for _ in range(200):
        lag = await bus.lag(subscription)
        if lag == expected:
            break
        await asyncio.sleep(0.01)
    return lag


def test_closing_hands_on_exactly(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 6)
        seqs = [e.seq for e in await first.take(6)]
        await first.intake.commit(0, seqs[1], [seqs[3]])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert second.intake.progress.floors == {0: seqs[1]}
        assert set(second.intake.progress.done[0]) == {seqs[3]}
        assert first.lost == []

    broker.run(test)


def test_commit_never_moves_back(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 6)
        seqs = [e.seq for e in await first.take(6)]
        await first.intake.commit(0, seqs[4], [])
        await first.intake.commit(0, seqs[2], [])
        await first.intake.commit(0, seqs[4], [])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert second.intake.progress.floors == {0: seqs[4]}

    broker.run(test)


@pytest.mark.parametrize(("start", "expected"), [("all", [0, 1, 2, 3]), ("new", [2, 3]), ("resume", [2, 3])])
def test_start_policy_counts_only_without_progress(broker: Broker, start: str, expected: list[int]) -> None:
    async def test(bus: EventBus) -> None:
        await fill(bus, 2)
        subscription = broker.subscription(start=start)
        first = await Owner.open(bus, subscription)
        await fill(bus, 2, first=2)
        events = await first.take(len(expected))
        await first.intake.commit(0, events[0].seq, [])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert ids(events) == expected
        assert ids(await second.take(len(expected) - 1)) == expected[1:]

    broker.run(test)


def test_no_event_slips_past_the_doorbell(broker: Broker) -> None:
    rounds = 2000 if broker.kind == "memory" else 1000

    async def test(bus: EventBus) -> None:
        other = await broker.connect()
        owner = await Owner.open(bus, broker.subscription())
        rung = asyncio.Event()
        for number in range(rounds):
            rung.clear()
            publish = asyncio.create_task(other.publish("topic", event(number)))
            if number % 3 == 0:
                await asyncio.sleep(0)
            pending = await owner.intake.arm(rung.set)
            if pending == 0:
                async with asyncio.timeout(5):
                    await rung.wait()
            await owner.intake.disarm()
            await publish
            (taken,) = await owner.take(1)
            await owner.intake.commit(0, taken.seq, [])

        assert ids(owner.events) == list(range(rounds))

    broker.run(test)


def letter_of(subscription: Subscription, incoming: Incoming, reason: str = "max-attempts") -> DeadLetter:
    return DeadLetter(
        id=f"{incoming.share}-{incoming.seq}",
        subscription=subscription.key,
        trigger="t",
        subject=subscription.subject,
        reason=reason,
        attempts=3,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        key=incoming.key,
        payload=incoming.payload,
    )


async def letters(bus: EventBus, subscription: Subscription) -> list[DeadLetter]:
    return [letter async for letter in bus.dead_letters(subscription.key)]


def test_a_dead_letter_is_stored_once_with_its_bytes(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription, neighbour = broker.subscription(), broker.subscription(group="other")
        first = await Owner.open(bus, subscription)
        await fill(bus, 2)
        one, two = await first.take(2)
        await first.intake.dead_letter(letter_of(subscription, one), 0, one.seq)
        await first.intake.dead_letter(letter_of(subscription, one, "again"), 0, one.seq)
        second = await Owner.open(await broker.connect(), subscription)
        await second.intake.dead_letter(letter_of(subscription, one), 0, one.seq)
        await second.intake.dead_letter(letter_of(subscription, two), 0, two.seq)
        stored = await letters(bus, subscription)

        assert [letter.id for letter in stored] == [f"0-{one.seq}", f"0-{two.seq}"]
        assert stored[0].payload == one.payload
        assert (stored[0].reason, stored[0].attempts, stored[0].group) == ("max-attempts", 3, "g")
        assert await letters(bus, neighbour) == []
        assert await bus.purge_dead_letters(subscription.key, [f"0-{one.seq}"]) == 1
        assert [letter.id for letter in await letters(bus, subscription)] == [f"0-{two.seq}"]
        assert await bus.purge_dead_letters(subscription.key) == 1

    broker.run(test)


def test_replay_reaches_that_subscription_only(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription, neighbour = broker.subscription(), broker.subscription(group="other")
        mine, theirs = await Owner.open(bus, subscription), await Owner.open(bus, neighbour)
        await fill(bus, 1)
        (dead,) = await mine.take(1)
        await theirs.take(1)
        await mine.intake.dead_letter(letter_of(subscription, dead), 0, dead.seq)
        await mine.intake.commit(0, dead.seq, [])
        (stored,) = await letters(bus, subscription)
        rung: list[bool] = []
        await theirs.intake.arm(lambda: rung.append(True))
        await bus.replay(stored)
        (again,) = await mine.take(1)
        left = await letters(bus, subscription)
        await fill(bus, 1, first=1)

        assert again.payload == dead.payload
        assert again.seq > dead.seq
        assert left == []
        assert ids(await theirs.take(1)) == [1]
        assert len(rung) == 1

    broker.run(test)


def test_a_duplicate_is_absorbed(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        for number in (0, 0, 1, 0):
            await bus.publish("topic", event(number), dedupe=cloudevents.dedupe_id("/test", str(number)))
        await bus.publish("other", event(0), dedupe=cloudevents.dedupe_id("/test", "0"))

        assert ids(await owner.take(2)) == [0, 1]
        assert await owner.intake.pending() == 0

    broker.run(test)


async def fill_up(bus: EventBus, *, output: bool = False) -> int:
    """Publish until the topic is full; answers how many it took."""
    for number in range(200):
        try:
            await bus.publish("topic", event(number, size=1000), output=output)
        except BusFull:
            return number
    raise AssertionError("never full")


def test_a_full_topic_refuses_outsiders_and_still_takes_outputs(broker: Broker) -> None:
    broker.options["maxBytes"] = str(100_000)

    async def test(bus: EventBus) -> None:
        stored = await fill_up(bus)
        with pytest.raises(BusFull):
            await bus.publish("topic", event(1000, size=1000))
        await bus.publish("topic", event(stored, size=1000), output=True)
        owner = await Owner.open(bus, broker.subscription())
        events = await owner.take(stored + 1)

        assert 50 < stored < 85
        assert ids(events) == list(range(stored + 1))
        assert await fill_up(bus, output=True) > 5

    broker.run(test)


def test_a_full_topic_takes_events_again_after_trim(broker: Broker) -> None:
    broker.options |= {"maxBytes": str(100_000), "retain": "0"}

    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await fill_up(bus)
        events = await owner.take(await owner.intake.pending())
        await owner.intake.commit(0, events[-1].seq, [])
        await settled(bus, subscription, 0)
        await bus.trim({"topic": [subscription]})
        await asyncio.sleep(0.15 if broker.kind == "nats" else 0)  # a reading of the size is used that long
        await bus.publish("topic", event(500))

        assert ids(await owner.take(1)) == [500]

    broker.run(test)


def test_trim_drops_only_what_all_have_passed(broker: Broker) -> None:
    broker.options["retain"] = "0"

    async def test(bus: EventBus) -> None:
        fast, slow = broker.subscription(), broker.subscription(group="slow")
        never = broker.subscription(group="never")
        one, two = await Owner.open(bus, fast), await Owner.open(bus, slow)
        await fill(bus, 10)
        seqs = [e.seq for e in await one.take(10)]
        await two.take(10)
        await one.intake.commit(0, seqs[9], [])
        await two.intake.commit(0, seqs[3], [])
        await settled(bus, fast, 0)
        await settled(bus, slow, 6)
        await bus.trim({"topic": [fast, slow, never], "nothing": []})
        assert await two.intake.read(0, seqs[0])
        await bus.trim({"topic": [fast, slow]})

        with pytest.raises(BusError):
            await two.intake.read(0, seqs[3])
        assert await two.intake.read(0, seqs[4])
        assert await bus.lag(slow) == 6

    broker.run(test)


def test_a_topic_that_nobody_reads_never_stays_full(broker: Broker) -> None:
    broker.options["maxBytes"] = str(100_000)

    async def test(bus: EventBus) -> None:
        await fill(bus, 3, subject="small")
        await fill_up(bus, output=True)
        await bus.trim({})
        await fill_up(bus, output=True)
        await bus.trim({"topic": []})
        await bus.publish("topic", event(0), output=True)
        owner = await Owner.open(bus, broker.subscription("small"))

        assert ids(await owner.take(3)) == [0, 1, 2]

    broker.run(test)


def test_lag_is_exact_and_never_guessed(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        with pytest.raises(LagUnknown):
            await bus.lag(subscription)
        owner = await Owner.open(bus, subscription)
        await fill(bus, 7)
        assert await bus.lag(subscription) == 7
        assert await owner.intake.pending() == 7
        events = await owner.take(5)
        assert await owner.intake.pending() == 2
        assert await bus.lag(subscription) == 7
        await owner.intake.commit(0, events[2].seq, [events[4].seq])
        assert await settled(bus, subscription, 4) == 4
        await fill(bus, 1, subject="elsewhere")
        assert await bus.lag(subscription) == 4

    broker.run(test)


@asynccontextmanager
async def tailing(bus: EventBus, subject: str, since: datetime | None = None) -> AsyncIterator[AsyncIterator[Incoming]]:
    events = bus.tail(subject, since=since)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # every backend's is a generator


@pytest.mark.parametrize("subject", ["topic", ">"])
def test_tail_shows_events_as_they_come(broker: Broker, subject: str) -> None:
    async def test(bus: EventBus) -> None:
        await fill(bus, 3)
        async with asyncio.timeout(TIMEOUT), tailing(bus, subject) as tail:
            seen: list[Incoming] = []

            async def read() -> None:
                async for incoming in tail:
                    seen.append(incoming)
                    if ids([incoming]) == [99]:
                        return

            reading = asyncio.create_task(read())
            number = 10
            while not seen:  # a tail begins when it is first asked
                await bus.publish("topic", event(number))
                number += 1
                await asyncio.sleep(0.01)
            await bus.publish("topic", event(99))
            await reading

        assert ids(seen)[-1] == 99
        assert min(ids(seen)) >= 10
        assert ids(seen)[:-1] == list(range(ids(seen)[0], number))

    broker.run(test)


def test_tail_since_shows_what_was(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await fill(bus, 150)
        async with asyncio.timeout(TIMEOUT), tailing(bus, "topic", datetime.now(UTC) - timedelta(minutes=1)) as tail:
            seen = [await anext(tail) for _ in range(150)]

        assert ids(seen) == list(range(150))

    broker.run(test)


def test_a_forgotten_subscription_starts_anew(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription(start="new")
        owner = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await owner.take(4)
        await owner.intake.commit(0, events[0].seq, [events[2].seq])
        await owner.intake.record_attempt(0, events[1].seq, Attempt(count=1, not_before=0))
        await bus.forget(subscription)
        await owner.until_lost()
        with pytest.raises(LagUnknown):
            await bus.lag(subscription)
        again = await Owner.open(bus, subscription)
        await fill(bus, 1, first=4)

        assert again.intake.progress.attempts == {}
        assert ids(await again.take(1)) == [4]
        assert again.intake.epoch > owner.intake.epoch

    broker.run(test)


def test_a_forgotten_subscription_that_resumes_goes_on(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription(start="resume")
        owner = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await owner.take(4)
        await owner.intake.commit(0, events[1].seq, [])
        await owner.intake.close()
        await bus.forget(subscription)
        again = await Owner.open(bus, subscription)

        assert ids(await again.take(2)) == [2, 3]

    broker.run(test)


def test_what_is_no_event_or_too_large_is_refused(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        with pytest.raises(cloudevents.Malformed):
            await bus.publish("topic", b"{}")
        with pytest.raises(TooLarge):
            await bus.publish("topic", event(0, size=5 << 20))
        await bus.publish("topic", event(1, size=3 << 20))
        owner = await Owner.open(bus, broker.subscription())

        assert ids(await owner.take(1)) == [1]

    broker.run(test)


def test_any_topic_name_works(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        for subject in ("a.b.c", "sensors/kitchen", "naïve topic", "x" * 300, "$SYS", "*"):
            owner = await Owner.open(bus, broker.subscription(subject, start="new"))
            await fill(bus, 1, subject=subject)
            assert ids(await owner.take(1)) == [0], subject

    broker.run(test)


async def publish_surely(bus: EventBus, number: int) -> None:
    """Again until acknowledged, with one identity, as every publisher of ours does."""
    while True:
        try:
            await bus.publish("topic", event(number), dedupe=cloudevents.dedupe_id("/test", str(number)))
        except Unreachable:
            continue
        else:
            return


@pytest.mark.broker
def test_a_killed_broker_loses_nothing_and_repeats_nothing(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        epoch = owner.intake.epoch
        owner.intake.request(2000)
        for round_ in range(3):
            first = round_ * 300
            publishing = asyncio.gather(*(publish_surely(bus, number) for number in range(first, first + 300)))
            await owner.wait(lambda first=first: len(owner.events) > first + 20)  # type: ignore[misc]  # a default binds the round
            await owner.intake.commit(0, owner.events[first].seq, [owner.events[first + 10].seq])
            await asyncio.to_thread(server.restart)
            await publishing
            await owner.wait(lambda first=first: len(owner.events) >= first + 300)  # type: ignore[misc]  # a default binds the round
        assert ids(owner.events) == list(range(900))
        assert owner.lost == []
        assert owner.intake.epoch == epoch
        assert owner.intake.outstanding() == 2000 - 900
        await owner.intake.commit(0, owner.events[-1].seq, [])
        assert await settled(bus, subscription, 0) == 0
        assert owner.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_progress_survives_a_killed_broker(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 20)
        seqs = [e.seq for e in await owner.take(20)]
        await owner.intake.commit(0, seqs[4], [seqs[6]])
        await owner.intake.record_attempt(0, seqs[5], Attempt(count=1, not_before=1.0))
        await owner.intake.close()
        await asyncio.to_thread(server.restart)
        next_ = await Owner.open(await real.connect(), subscription)

        assert next_.intake.progress.floors == {0: seqs[4]}
        assert set(next_.intake.progress.done[0]) == {seqs[6]}
        assert next_.intake.progress.attempts == {(0, seqs[5]): Attempt(count=1, not_before=1.0)}
        assert [e.seq for e in await next_.take(15)] == seqs[5:]

    real.run(test)


@pytest.mark.broker
def test_publishes_overlapping_a_restart_keep_their_order(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        publishing = [asyncio.create_task(publish_surely(bus, number)) for number in range(1, 200)]
        await asyncio.to_thread(server.restart)
        publishing += [asyncio.create_task(publish_surely(bus, number)) for number in range(200, 300)]
        await asyncio.gather(*publishing)
        owner = await Owner.open(bus, real.subscription())

        assert ids(await owner.take(300)) == list(range(300))

    real.run(test)


@pytest.mark.broker
def test_publishing_to_a_silent_broker_ends_within_the_deadline(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        bus._publisher._deadline = 0.3  # type: ignore[attr-defined]  # nine seconds are long for a test
        await bus.publish("topic", event(0))
        server.freeze()
        try:
            with pytest.raises(Unreachable, match="did not acknowledge"):
                await bus.publish("topic", event(1))
        finally:
            server.thaw()
        await bus.publish("topic", event(2))

    real.run(test)


@pytest.mark.broker
def test_an_owner_is_no_longer_fresh_when_the_broker_is_away(
    real: Broker, server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "FRESH", 0.0)

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())

        assert not owner.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_a_question_ends_with_the_connection_it_was_asked_on(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        server.freeze()
        asking = asyncio.create_task(bus.lag(subscription))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(3):
            with pytest.raises(Unreachable, match="broke before the answer"):
                await asking
        await fill(bus, 1)
        await owner.take(1)

        assert owner.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_asking_before_connecting_says_so(server: Nats) -> None:
    bus = connect(Bus(key=Key("x", "default"), kind="nats", options=dict(server.options)), plain)

    with pytest.raises(Unreachable, match="not connected yet"):
        asyncio.run(bus.publish("topic", event(0)))


@pytest.mark.broker
def test_two_takers_at_once_leave_one_owner(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        buses = [bus, *[await real.connect() for _ in range(3)]]
        await fill(bus, 5)
        subscription = real.subscription()
        opened = await asyncio.gather(*(Owner.open(one, subscription) for one in buses), return_exceptions=True)
        owners = [owner for owner in opened if isinstance(owner, Owner)]
        assert all(isinstance(other, Owner | Fenced) for other in opened)
        assert owners
        winner = max(owners, key=lambda owner: owner.intake.epoch)
        for owner in owners:
            if owner is not winner:
                await owner.until_lost()

        assert ids(await winner.take(5)) == list(range(5))
        assert winner.lost == []

    real.run(test)


@pytest.mark.broker
def test_a_pull_that_expired_is_asked_again(real: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "EXPIRES", 0.5)
    monkeypatch.setattr(pulls, "HEARTBEAT", 0.2)

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        owner.intake.request(10)
        await asyncio.sleep(1.2)  # two pulls' life
        await fill(bus, 4)
        await owner.wait(lambda: len(owner.events) == 4)

        assert owner.intake.outstanding() == 6

    real.run(test)


@pytest.mark.broker
def test_events_larger_than_one_pull_arrive(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        for number in range(5):
            await bus.publish("topic", event(number, size=3 << 20))
        owner.intake.request(10)
        await owner.wait(lambda: len(owner.events) == 5)

        assert owner.intake.outstanding() == 5
        assert await owner.intake.pending() == 0

    real.run(test)


@pytest.mark.broker
def test_a_sleeper_is_woken_for_what_was_published_while_it_was_cut_off(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        rung = asyncio.Event()
        assert await owner.intake.arm(rung.set) == 0
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(TIMEOUT):
            await rung.wait()

    real.run(test)


@pytest.mark.broker
def test_a_consumer_deleted_by_hand_is_made_again(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 6)
        events = await owner.take(3)
        await owner.intake.commit(0, events[0].seq, [])
        owner.intake.request(10)
        await owner.wait(lambda: len(owner.events) == 6)
        held = owner.intake
        await held._js.delete_consumer(held._stream, held._consumer)  # type: ignore[attr-defined]  # as an operator would
        await fill(bus, 2, first=6)
        await owner.wait(lambda: len(owner.events) == 8)
        await owner.intake.commit(0, owner.events[6].seq, [])

        assert ids(owner.events) == list(range(8))
        assert await settled(bus, subscription, 1) == 1

    real.run(test)


@pytest.mark.broker
def test_a_connection_ended_for_good_is_made_anew(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 3)
        await owner.take(1)
        await bus._connection._client._process_err("'slow consumer'")  # type: ignore[attr-defined]  # what the library does on -ERR
        reason = await owner.until_lost()
        await publish_surely(bus, 3)
        again = await Owner.open(bus, subscription)

        assert "slow consumer" in reason
        assert ids(await again.take(4)) == [0, 1, 2, 3]
        assert again.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_closing_answers_what_waits(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        server.freeze()
        try:
            publishing = asyncio.create_task(bus.publish("topic", event(1)))
            await asyncio.sleep(0)
            await bus.close()
            with pytest.raises(Unreachable):
                await publishing
        finally:
            server.thaw()

    real.run(test)


@pytest.mark.broker
def test_wrong_credentials_and_nobody_there_say_so(server: Nats) -> None:
    async def test() -> None:
        for options, error in (
            ({**server.options, "password": "guess"}, AuthFailed),
            ({**server.options, "url": "nats://127.0.0.1:1"}, Unreachable),
        ):
            bus = connect(Bus(key=Key("x", "default"), kind="nats", options=dict(options)), plain)
            with pytest.raises(error):
                await bus.connect()
            await bus.close()

    asyncio.run(test())


def test_kinds_not_built_yet_say_so() -> None:
    with pytest.raises(NotYet, match="kafka"):
        connect(Bus(key=Key("x", "default"), kind="kafka"), plain)


def test_an_owner_whose_loop_stood_still_goes_on_where_it_was(broker: Broker) -> None:
    """Nobody took over meanwhile: same epoch, fresh again, and nothing is delivered twice."""

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 20)
        events = await owner.take(10)
        epoch = owner.intake.epoch
        owner.intake.request(10)
        time.sleep(6.0)  # noqa: ASYNC251  # the loop is to stand still, longer than a renewal is good for
        assert owner.intake.fresh or broker.kind == "nats"
        async with asyncio.timeout(10.0):
            while not owner.intake.fresh:  # noqa: ASYNC110  # nothing tells when
                await asyncio.sleep(0.01)
        await owner.wait(lambda: len(owner.events) >= 20)
        await owner.intake.commit(0, events[-1].seq, [])

        assert ids(owner.events) == list(range(20))
        assert owner.intake.epoch == epoch
        assert not owner.lost

    broker.run(test)
