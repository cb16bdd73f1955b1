"""Events of which a condition cannot be told stay away, are counted, and hold nothing up."""

from __future__ import annotations

import asyncio

from tests.proxy.plant import Plant, Replica, event, subscription


def test_what_cannot_be_told_is_counted_and_holds_nothing_up() -> None:
    async def scenario() -> None:
        async with Plant(subscription(condition="data.celsius > 30")) as plant:
            replica = Replica()
            await plant.scale(replica)
            hot, cold, mute, text = {"celsius": 31}, {"celsius": 3}, {}, {"celsius": "hot"}
            await plant.publish(*(event(n, **data) for n, data in enumerate((hot, cold, mute, text, hot))))
            await plant.drained()

            assert sorted(replica.numbers) == [0, 4]
            assert (plant.reading.untold, plant.reading.done, plant.reading.dead) == (2, 2, 0)

    asyncio.run(scenario())
