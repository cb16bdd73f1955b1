"""What can be seen without owning anything: lag, and events as they go by."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from eventbus.bus import EventBus, Incoming
from eventbus.errors import LagUnknown
from tests.contract.harness import TIMEOUT, Broker, Owner, event, fill, ids, settled, tailing


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
