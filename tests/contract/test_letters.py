"""Dead letters: stored once with their bytes, and handed back to their subscription only."""

from __future__ import annotations

from eventbus.bus import EventBus
from tests.contract.harness import Broker, Owner, fill, ids, letter_of, letters


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
        assert (again.share, again.seq) > (dead.share, dead.seq)
        assert left == []
        assert ids(await theirs.take(1)) == [1]
        assert len(rung) == 1

    broker.run(test)
