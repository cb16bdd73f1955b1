"""Starts are capped, fair over functions, and held back after crashes."""

import asyncio

from controller.local.starts import Crashes, FairSlots


def test_back_off_doubles_from_one_second_to_one_minute():
    crashes, waits = Crashes(), []
    for _ in range(9):
        crashes = crashes.after_failure(100.0)
        waits.append(crashes.not_before - 100.0)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_healthy_replica_is_replaced_at_once_and_ends_the_series():
    series = Crashes().after_failure(0.0).after_failure(1.0)

    after = series.after_failure(500.0, ready_for=400.0)

    assert after == Crashes(1, 500.0)
    assert after.after_failure(501.0, ready_for=0.5).not_before == 503.0


def test_waiting_functions_take_turns():
    async def go():
        slots, order = FairSlots(1), []
        release = await slots.take("first")

        async def start(owner):
            done = await slots.take(owner)
            order.append(owner)
            done()

        tasks = [asyncio.create_task(start(owner)) for owner in ("busy", "busy", "busy", "quiet")]
        await asyncio.sleep(0)
        release()
        release()  # a second call gives nothing back
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(go()) == ["busy", "quiet", "busy", "busy"]


def test_a_cancelled_wait_passes_its_turn_on():
    async def go():
        slots = FairSlots(1)
        release = await slots.take("a")
        waiting = asyncio.create_task(slots.take("b"))
        await asyncio.sleep(0)
        release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        (await asyncio.wait_for(slots.take("c"), 1))()

    asyncio.run(go())
