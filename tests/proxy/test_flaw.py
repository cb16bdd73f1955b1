"""What the bus itself says is no event goes to the dead letters, however well its bytes would read."""

from __future__ import annotations

import asyncio
from typing import Any

from eventbus.bus import Incoming
from eventbus.memory.topic import Stored
from tests.proxy.plant import Plant, Replica, event, subscription


def test_a_flaw_that_the_bus_found_is_a_dead_letter_without_a_try() -> None:
    async def scenario() -> None:
        async with Plant() as plant:
            replica = Replica()
            await plant.scale(replica)
            bus: Any = plant.bus
            topic = bus._topic(subscription().subject)
            topic.last += 1
            topic.events[topic.last] = Stored(Incoming(0, topic.last, "", event(0), 0, "record t-0-0: ce_id twice"), "")
            await plant.publish(event(1))
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.reason, letter.attempts, letter.payload) == ("malformed", 0, event(0))
            assert letter.error.endswith("record t-0-0: ce_id twice")
            assert replica.numbers == [1]

    asyncio.run(scenario())
