"""Picks by free credit, waiting in turn, and what stays counted after a replica left the table."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from api.frames import Endpoint, Endpoints
from api.meta import RevisionKey
from replicas import table as module
from replicas.table import Lease, ReplicaTable
from tests.replicas.control import REVISION, endpoint


def table(*endpoints: Endpoint, generation: int = 1, epoch: int = 1) -> ReplicaTable:
    made = ReplicaTable()
    made.update(Endpoints(epoch=epoch, revision=REVISION, generation=generation, endpoints=endpoints))
    return made


def picked(lease: Lease | None) -> str:
    assert lease is not None
    return lease.endpoint.replica


def test_most_free_credit_first_and_ties_take_turns() -> None:
    replicas = table(endpoint("small", 1), endpoint("large", 3))

    assert [picked(replicas.pick(REVISION)) for _ in range(4)] in (
        ["large", "large", "small", "large"],
        ["large", "large", "large", "small"],
    )
    assert replicas.pick(REVISION) is None
    assert replicas.free(REVISION) == 0
    assert replicas.used() == {"small": 1, "large": 3}

    even = table(endpoint("a", 100), endpoint("b", 100))
    counts: Counter[str] = Counter()
    for _ in range(10):
        lease = even.pick(REVISION)
        counts[picked(lease)] += 1
        assert lease is not None
        lease.release()
    assert counts == {"a": 5, "b": 5}


def test_a_batch_takes_what_is_free() -> None:
    replicas = table(endpoint("a", 10))
    lease = replicas.pick(REVISION, 100)

    assert lease is not None
    assert lease.count == 10
    lease.release()
    lease.release()
    assert replicas.free(REVISION) == 10


def test_older_endpoints_are_dropped_and_a_new_epoch_starts_again() -> None:
    replicas = table(endpoint("new"), generation=7)

    assert not replicas.update(Endpoints(epoch=1, revision=REVISION, generation=6, endpoints=()))
    assert replicas.generation(REVISION) == 7
    assert replicas.update(Endpoints(epoch=2, revision=REVISION, generation=1, endpoints=(endpoint("x"),)))
    assert [found.replica for found in replicas.ready(REVISION)] == ["x"]


def test_closing_takes_nothing_new_and_reopen_takes_it_back() -> None:
    replicas = table(endpoint("a"), endpoint("b"))
    replicas.closing(["a"])

    assert picked(replicas.pick(REVISION)) == "b"
    assert replicas.pick(REVISION) is None
    replicas.reopen(REVISION)
    assert picked(replicas.pick(REVISION)) == "a"


def test_work_stays_counted_after_its_replica_was_removed() -> None:
    async def scenario() -> None:
        replicas = table(endpoint("a"))
        lease = replicas.pick(REVISION)
        replicas.remove(["a"])
        assert replicas.ready(REVISION) == ()
        assert replicas.in_flight("a") == 1
        drained = asyncio.create_task(replicas.drained(["a"]))
        await asyncio.sleep(0)
        assert not drained.done()
        assert lease is not None
        lease.release()
        await drained
        assert replicas.used() == {}

    asyncio.run(scenario())


def test_those_who_wait_are_served_in_turn() -> None:
    async def scenario() -> None:
        replicas = ReplicaTable()
        order: list[int] = []

        async def work(number: int) -> None:
            lease = await replicas.acquire(REVISION, 10)
            assert lease is not None
            order.append(number)
            lease.release()

        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        replicas.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint("a"),)))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 1, 3, 4]
        assert replicas.used() == {}
        assert await replicas.wait(REVISION, 0.01)
        assert not await replicas.wait(RevisionKey("default", "other", "00001"), 0.01)

    asyncio.run(scenario())


def test_a_lease_handed_over_to_one_who_gave_up_is_given_back() -> None:
    async def scenario() -> None:
        replicas = ReplicaTable()
        task = asyncio.create_task(replicas.acquire(REVISION, 10))
        await asyncio.sleep(0)
        replicas.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint("a"),)))
        assert replicas.in_flight("a") == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert replicas.in_flight("a") == 0

    asyncio.run(scenario())


def test_endpoints_that_list_a_closing_replica_reopen_it() -> None:
    replicas = table(endpoint("a"))
    replicas.closing(["a"])
    replicas.update(Endpoints(epoch=1, revision=REVISION, generation=2, endpoints=(endpoint("a"),)))

    assert picked(replicas.take(REVISION)) == "a"


def test_those_who_wait_for_a_revision_that_goes_are_dismissed() -> None:
    async def scenario() -> None:
        replicas = ReplicaTable()
        waiting = asyncio.create_task(replicas.acquire(REVISION, 10))
        await asyncio.sleep(0)
        replicas.dismiss(REVISION)
        assert await waiting is None

    asyncio.run(scenario())


def test_a_struck_replica_rests() -> None:
    async def scenario() -> None:
        now = [0.0]
        replicas = ReplicaTable(clock=lambda: now[0])
        replicas.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint("a"),)))
        changes: list[RevisionKey] = []
        replicas.subscribe(changes.append)
        replicas.strike("a", 0.01)
        assert replicas.pick(REVISION) is None
        assert replicas.ready(REVISION) == ()
        assert replicas.listed(REVISION)
        waiting = asyncio.create_task(replicas.acquire(REVISION, 10))
        await asyncio.sleep(0)
        now[0] = 0.02
        assert picked(await waiting) == "a"
        assert changes == [REVISION]

    asyncio.run(scenario())


def test_a_timer_that_fires_early_loses_no_wake_up() -> None:
    """uvloop counts in whole milliseconds: its timers may come up to one before our clock says so."""

    async def scenario() -> None:
        replicas = ReplicaTable(clock=lambda: 0.0)  # no time has passed when the timer fires
        replicas.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint("a"),)))
        replicas.strike("a", 0.005)
        async with asyncio.timeout(5):
            assert picked(await replicas.acquire(REVISION, None)) == "a"

    asyncio.run(scenario())


def test_a_replica_that_is_struck_again_rests_for_the_longer_time() -> None:
    async def scenario() -> None:
        now = [0.0]
        replicas = ReplicaTable(clock=lambda: now[0])
        replicas.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint("a"),)))
        changes: list[RevisionKey] = []
        replicas.subscribe(changes.append)
        replicas.strike("a", 0.001)
        now[0] = 0.0005
        replicas.strike("a", 60.0)
        await asyncio.sleep(0.01)  # the first timer has fired
        now[0] = 1.0
        assert (changes, replicas.pick(REVISION)) == ([], None)

    asyncio.run(scenario())


def test_a_replica_is_seized_whole_once_it_is_idle() -> None:
    async def scenario() -> None:
        shared = table(endpoint("a", 3), endpoint("b", 3))
        busy, busier = shared.pick(REVISION, 1), shared.pick(REVISION, 2)
        assert busy
        assert busier
        assert shared.seize(REVISION) is None
        assert picked(shared.pick(REVISION)) == picked(busier), "what is to be seized gets nothing new"
        busy.release()

        seized = shared.seize(REVISION)

        assert seized
        assert picked(seized) == picked(busy)
        assert seized.whole
        assert not busier.whole
        assert shared.pick(REVISION) is None
        seized.release()
        assert picked(shared.pick(REVISION)) == picked(seized)

    asyncio.run(scenario())


def test_a_replica_that_nobody_came_to_seize_takes_work_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVED", 0.01)

    async def scenario() -> None:
        shared = table(endpoint("a", 3))
        assert shared.pick(REVISION)
        assert shared.seize(REVISION) is None
        assert shared.pick(REVISION) is None

        assert picked(await shared.acquire(REVISION, 10)) == "a"

    asyncio.run(scenario())
