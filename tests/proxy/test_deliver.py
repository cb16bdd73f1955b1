"""One owner from bus to replica: order, retries, dead letters, poison, silence, takeover. Memory bus, real sockets."""

from __future__ import annotations

import asyncio
import itertools
import random
from datetime import timedelta

import msgspec
import pytest

from api.delivery import Backoff, DeliveryPolicy
from api.frames import Endpoints, Want
from api.meta import RevisionKey
from api.model import Backend, Filter
from proxy.owner import Owner
from tests.proxy.plant import FAST, REVISION, Answer, Plant, Replica, event, subscription, until


def test_events_reach_the_handler_and_progress_is_written_at_once() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            await plant.publish(*(event(n) for n in range(5)))
            await plant.drained(seconds=0.9)  # less than the second that a busy window may take

            assert sorted(replica.numbers) == [0, 1, 2, 3, 4]
            assert plant.reading.done == plant.reading.arrived == 5

    asyncio.run(scenario())


def test_headers_of_a_delivery() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            await plant.publish(event(1))
            await plant.drained()

            headers = replica.headers[0]
            assert headers["content-type"] == "application/cloudevents+json"
            assert (headers["evoke-epoch"], headers["evoke-attempt"], headers["evoke-hops"]) == ("1", "1", "0")
            assert headers["evoke-trigger"] == "default/on-reading.telemetry"
            assert float(headers["evoke-timeout"]) == 60

    asyncio.run(scenario())


def test_keys_stay_in_order_over_failures_and_replicas() -> None:
    dice = random.Random(7)

    async def flaky(one: Answer) -> Answer:
        await asyncio.sleep(dice.random() / 1000)
        return {"status": "RETRY" if dice.random() < 0.05 else "SUCCESS"}

    async def scenario() -> None:
        policy = msgspec.structs.replace(FAST, max_attempts=50)
        async with Plant(subscription(delivery=policy)) as plant:
            first: dict[str, list[int]] = {}

            async def handler(one: Answer) -> Answer:
                answer = await flaky(one)
                if answer["status"] == "SUCCESS":
                    first.setdefault(one["partitionkey"], []).append(one["data"]["n"])
                return answer

            replicas = [Replica(handler), Replica(handler, ordered=False, credit=4), Replica(handler, batch=0)]
            await plant.scale(*replicas)
            for n in range(1000):
                await plant.publish(event(n, key=f"k{n % 32}"))
                if n % 300 == 299:
                    await plant.scale(*replicas[: n // 300])
            await plant.drained(30)

            assert sum(map(len, first.values())) == 1000
            assert all(numbers == sorted(numbers) for numbers in first.values())

    asyncio.run(scenario())


def test_failure_is_recorded_noticed_and_retried() -> None:
    async def scenario() -> None:
        calls = itertools.count()

        async def handler(_one: Answer) -> Answer:
            if next(calls) == 0:
                error = {"type": "KeyError", "message": "'celcius'", "file": "/srv/main.py", "line": 9}
                return {"status": "RETRY", "error": error}
            return {"status": "SUCCESS"}

        async with Plant(
            subscription(delivery=DeliveryPolicy(backoff=Backoff(initial=timedelta(seconds=0.05))))
        ) as plant:
            replica = Replica(handler)
            await plant.scale(replica)
            await plant.publish(event(1))
            await plant.drained()

            assert replica.attempts == {"1": 2}
            assert plant.notices("attempt-failed") == [
                "attempt 1 of 10 failed: KeyError 'celcius' (main.py:9); again in 0.1 s"
            ]
            assert plant.notices("delivered") == ["delivered (attempt 2)"]
            assert (plant.reading.failed, plant.reading.done) == (1, 1)

    asyncio.run(scenario())


def test_dead_letter_exactly_once_with_reason_and_bytes() -> None:
    async def scenario() -> None:
        async def handler(one: Answer) -> Answer:
            if one["data"]["n"] == 1:
                return {"status": "RETRY", "reason": "always"}
            if one["data"]["n"] == 2:
                return {"status": "DROP", "reason": "no such vehicle"}
            return {"status": "SUCCESS"}

        async with Plant() as plant:
            replica = Replica(handler)
            await plant.scale(replica)
            await plant.publish(event(1, key="a"), event(2, key="b"), event(3, key="a"))
            await plant.drained()

            letters = {letter.reason: letter for letter in await plant.letters()}
            assert letters.keys() == {"max-attempts", "rejected"}
            assert (letters["max-attempts"].attempts, letters["rejected"].attempts) == (3, 1)
            assert (letters["rejected"].error, letters["rejected"].event_id) == ("no such vehicle", "2")
            assert msgspec.json.decode(letters["max-attempts"].payload)["data"] == {"n": 1}
            assert replica.numbers[-1] == 3
            assert plant.notices("dead-letter") == [
                "rejected: no such vehicle; to the dead letters",
                "attempt 3 of 3 failed: always; to the dead letters",
            ]
            assert plant.reading.dead == 2

    asyncio.run(scenario())


def test_poison_in_a_batch_is_charged_alone() -> None:
    """One event of a hundred kills its replica whenever it is there: only it is dead-lettered."""

    async def scenario() -> None:
        async with Plant() as plant:
            replicas: list[Replica] = []

            async def crash(one: Answer) -> Answer | None:
                return None if one["data"]["n"] == 50 else {"status": "SUCCESS"}

            async def grow() -> None:
                replica = Replica(handler, credit=100)
                replicas.append(replica)
                await plant.scale(replica)

            async def handler(one: Answer) -> Answer | None:
                answer = await crash(one)
                if answer is None:
                    asyncio.get_running_loop().create_task(replace())
                    await asyncio.sleep(10)
                return answer

            async def replace() -> None:
                await replicas[-1].kill()
                await grow()

            await grow()
            warm = [event(n) for n in range(1000, 1030)]
            await plant.publish(*warm)
            await plant.drained()
            await plant.publish(*(event(n) for n in range(100)))
            await plant.drained(20)

            assert max(size for replica in replicas for size in replica.batches) > 10
            (letter,) = await plant.letters()
            assert (letter.event_id, letter.reason, letter.attempts) == ("50", "max-attempts", 3)
            assert letter.error == "the replica ended without a reply"
            attempts: dict[str, int] = {}
            for replica in replicas:
                attempts |= {id_: max(number, attempts.get(id_, 0)) for id_, number in replica.attempts.items()}
            assert {id_: n for id_, n in attempts.items() if n > 1} == {"50": 3}

    asyncio.run(scenario())


def test_refused_connection_and_no_room_are_never_charged() -> None:
    async def scenario() -> None:
        answers: list[Answer | int] = [503, 503]

        async def handler(_one: Answer) -> Answer | int:
            return answers.pop() if answers else {"status": "SUCCESS"}

        async with Plant() as plant:
            dead, alive = Replica(), Replica(handler)
            await dead.start()
            await dead.kill()
            await plant.scale(alive)
            both = (dead.endpoint, alive.endpoint)
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=9, endpoints=both))
            await plant.publish(*(event(n) for n in range(10)))
            await plant.drained(10)

            assert set(alive.attempts.values()) == {1}
            assert plant.reading.failed == 0

    asyncio.run(scenario())


def test_timed_out_attempt_waits_for_its_replica() -> None:
    """The key is not tried elsewhere while the first attempt may still run."""

    async def scenario() -> None:
        policy = msgspec.structs.replace(FAST, timeout=timedelta(seconds=-2.8))  # with the margin: 0.2 s
        async with Plant(subscription(delivery=policy)) as plant:
            slow, other = Replica(credit=10), Replica(credit=1)

            async def hang(one: Answer) -> Answer:
                await asyncio.sleep(60)
                return {"status": "SUCCESS"}

            slow.handler = hang
            await plant.scale(slow)
            await plant.publish(event(1, key="a"), event(2, key="a"))
            await until(lambda: slow.running)
            await plant.scale(slow, other)
            await until(lambda: plant.owner.hold and any(e.state == "unknown" for e in plant.owner.hold.windows[0]))
            assert other.events == []
            assert plant.reading.in_flight == 1

            await slow.kill()
            await plant.drained()
            assert other.numbers == [1, 2]
            assert other.attempts["1"] == 2

    asyncio.run(scenario())


def test_takeover_goes_on_above_the_floor() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            release = asyncio.Event()

            async def handler(one: Answer) -> Answer:
                if one["data"]["n"] == 0:
                    await release.wait()
                return {"status": "SUCCESS"}

            replica = Replica(handler, credit=10, batch=0)
            await plant.scale(replica)
            await plant.publish(*(event(n) for n in range(5)))
            await until(lambda: plant.reading.done == 4)
            await until(lambda: plant.owner._commits.next() is None)  # the done map is written

            second = Owner(plant.subscription, lambda: plant.bus, plant.wiring, "proxy-1")
            plant.table.subscribe(lambda _revision: second.poke())
            second.start()
            await until(lambda: second.hold is not None)
            assert second.hold is not None
            assert (second.hold.intake.epoch, plant.owner.hold and plant.owner.hold.over) == (2, True)
            plant.owner._stopping = True
            release.set()
            await until(lambda: len(replica.events) == 6)
            await until(lambda: not second.hold.held)

            assert sorted(replica.numbers) == [0, 0, 1, 2, 3, 4]
            assert replica.headers[-1]["evoke-epoch"] == "2"
            await second.stop()

    asyncio.run(scenario())


def test_newer_epoch_at_the_replica_ends_the_ownership() -> None:
    async def scenario() -> None:
        answers: list[Answer | int] = [409]

        async def handler(_one: Answer) -> Answer | int:
            return answers.pop() if answers else {"status": "SUCCESS"}

        async with Plant() as plant:
            replica = Replica(handler)
            await plant.scale(replica)
            await plant.publish(event(1))
            await until(lambda: len(replica.events) == 2)
            await plant.drained()

            assert [headers["evoke-epoch"] for headers in replica.headers] == ["1", "2"]
            assert [headers["evoke-attempt"] for headers in replica.headers] == ["1", "1"]

    asyncio.run(scenario())


def test_event_at_zero_replicas_asks_for_one_and_waits() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            await until(lambda: plant.owner._inflow.armed)
            await plant.publish(event(1))
            await until(lambda: plant.frames)
            assert plant.frames[0] == Want(revision=REVISION, generation=0, waiting=1, reason="event waiting")
            assert plant.owner.wants() == [plant.frames[0]]
            assert (plant.reading.lag, plant.reading.runnable) == (1, 1)

            replica = Replica()
            await plant.scale(replica)
            await plant.drained()
            assert replica.numbers == [1]
            assert plant.owner.wants() == []

    asyncio.run(scenario())


def test_filter_runs_before_activation() -> None:
    async def scenario() -> None:
        async with Plant(subscription(condition="event.data.battery < 20")) as plant:
            await until(lambda: plant.owner._inflow.armed)
            await plant.publish(*(event(n, battery=90) for n in range(600)))
            await plant.drained()
            assert plant.frames == []
            assert plant.reading.matched_ratio < 0.1

            await plant.publish(event(1, battery=19))
            await until(lambda: plant.frames)
            assert isinstance(plant.frames[0], Want)

    asyncio.run(scenario())


def test_ce_filter_and_malformed_condition_events() -> None:
    async def scenario() -> None:
        sub = subscription(filter=Filter(dialect="exact", argument='{"type":"other"}'))
        async with Plant(sub) as plant:
            await plant.scale(Replica())
            await plant.publish(event(1))
            await plant.drained()
            assert plant.reading.arrived == 0

    asyncio.run(scenario())


def test_sleep_is_refused_while_work_is_held() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            release = asyncio.Event()

            async def handler(_one: Answer) -> Answer:
                await release.wait()
                return {"status": "SUCCESS"}

            replica = Replica(handler)
            await plant.scale(replica)
            await until(lambda: plant.owner.held_for(REVISION) == 0)
            await plant.publish(event(1))
            await until(lambda: replica.running)
            assert plant.owner.held_for(REVISION) == 1

            release.set()
            await plant.drained()
            assert plant.owner.held_for(REVISION) == 0
            plant.table.remove([replica.id])
            assert await plant.owner.sleep(REVISION)

            await plant.publish(event(2))
            await until(lambda: any(isinstance(frame, Want) for frame in plant.frames))
            assert not await plant.owner.sleep(REVISION)

    asyncio.run(scenario())


def test_expired_events_are_dead_lettered_without_a_replica() -> None:
    async def scenario() -> None:
        policy = msgspec.structs.replace(FAST, max_age=timedelta(seconds=0))
        async with Plant(subscription(delivery=policy)) as plant:
            await until(lambda: plant.owner._inflow.armed)
            await plant.publish(event(1))
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.reason, letter.attempts) == ("expired", 0)

    asyncio.run(scenario())


def test_failing_function_trips_the_breaker_and_recovers() -> None:
    async def scenario() -> None:
        healthy = False

        async def handler(_one: Answer) -> Answer | int:
            return {"status": "SUCCESS" if healthy else "RETRY"}

        policy = msgspec.structs.replace(FAST, max_attempts=100)
        async with Plant(subscription(delivery=policy)) as plant:
            replica = Replica(handler)
            await plant.scale(replica)
            await plant.publish(*(event(n) for n in range(200)))
            await until(lambda: plant.reading.condition == "DownstreamFailing")
            failed = plant.reading.failed
            assert failed < 60

            healthy = True
            await plant.drained(10)
            assert plant.reading.condition == ""
            assert plant.reading.done == 200

    asyncio.run(scenario())


def test_new_revision_takes_the_failing_event_at_once() -> None:
    async def scenario() -> None:
        async def broken(_one: Answer) -> Answer:
            return {"status": "RETRY", "reason": "broken"}

        policy = DeliveryPolicy(backoff=Backoff(initial=timedelta(hours=1), cap=timedelta(hours=1)))
        async with Plant(subscription(delivery=policy)) as plant:
            await plant.scale(Replica(broken))
            await plant.publish(event(1))
            await until(lambda: plant.reading.parked == 1)

            fixed = RevisionKey("default", "on-reading", "00002")
            replica = await Replica().start()
            endpoints = Endpoints(epoch=1, revision=fixed, generation=1, endpoints=(replica.endpoint,))
            plant.table.update(endpoints)
            plant.owner.change(subscription(delivery=policy, backends=(Backend(revision=fixed),)))
            await plant.drained()
            assert replica.attempts == {"1": 2}
            await replica.kill()

    asyncio.run(scenario())


def test_a_function_that_just_went_to_zero_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.owner.WANT_EVERY", 3600.0)  # no repetition can help

    async def scenario() -> None:
        async with Plant() as plant:
            for number in range(2):
                await plant.publish(event(number))
                await until(lambda wants=number + 1: len([f for f in plant.frames if isinstance(f, Want)]) == wants)
                await plant.scale(Replica())
                await plant.drained()
                await plant.scale()

    asyncio.run(scenario())


def test_events_wait_for_the_first_revision_that_is_ready() -> None:
    async def scenario() -> None:
        async with Plant(subscription(backends=())) as plant:
            assert plant.reading.revision == RevisionKey("default", "", "")
            await plant.publish(*(event(n) for n in range(3)))
            replica = Replica()
            await plant.scale(replica)
            assert replica.events == []

            plant.owner.change(subscription())
            await plant.drained()
            assert sorted(replica.numbers) == [0, 1, 2]

    asyncio.run(scenario())


def test_weights_split_events_by_key() -> None:
    async def scenario() -> None:
        other = RevisionKey("default", "on-reading", "00002")
        backends = (Backend(revision=REVISION, weight=50), Backend(revision=other, weight=50))
        async with Plant(subscription(backends=backends)) as plant:
            one, two = Replica(), await Replica().start()
            await plant.scale(one)
            await plant.publish(*(event(n, key=f"k{n % 20}") for n in range(200)))
            await until(lambda: [want.revision for want in plant.owner.wants()] == [other])
            assert len(plant.owner.readings()) == 2

            plant.table.update(Endpoints(epoch=1, revision=other, generation=1, endpoints=(two.endpoint,)))
            await until(lambda: len(one.events) + len(two.events) == 200)
            keys = [{one["partitionkey"] for one in replica.events} for replica in (one, two)]
            assert not keys[0] & keys[1]
            assert all(len(found) > 3 for found in keys)
            await two.kill()

    asyncio.run(scenario())


def test_events_in_a_circle_or_past_their_time_are_not_delivered() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            marks = [("evokehops", b"17"), ("expiration", b'"2020-01-01T00:00:00Z"'), ("evokehops", b"16")]
            for number, (name, value) in enumerate(marks):
                await plant.publish(b'{"%b":%b,' % (name.encode(), value) + event(number)[1:])
            await plant.drained()

            assert {letter.event_id: letter.reason for letter in await plant.letters()} == {"0": "loop", "1": "expired"}
            assert replica.numbers == [2]

    asyncio.run(scenario())


def test_a_defect_of_ours_costs_attempts_and_not_the_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            await until(lambda: not plant.reading.blind)
            monkeypatch.setattr(plant.owner._outflow._receiver._poster("/"), "_single", [(b"bad\nname", b"")])
            await plant.publish(event(1))
            await plant.drained()
            (letter,) = await plant.letters()
            assert (letter.reason, letter.attempts) == ("max-attempts", 3)

            monkeypatch.undo()
            await plant.publish(event(2))
            await plant.drained()
            assert replica.numbers == [2]

    asyncio.run(scenario())
