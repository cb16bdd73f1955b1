"""A connection that the network resets, on uvloop as in the platform: it is noticed, and made anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from eventbus.mqtt_address import read_address
from eventbus.mqtt_link import Link, Subscription
from eventbus.mqtt_message import Message
from tests.mosquitto import start_mosquitto
from tests.relay import Relay

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("busy", [False, True], ids=["silent", "while acknowledging"])
def test_a_reset_connection_is_made_anew(tmp_path: Path, busy: bool) -> None:
    broker = start_mosquitto(tmp_path)
    try:
        with Relay(broker.port) as relay:
            uvloop.run(scenario(relay, busy))
    finally:
        broker.stop()


async def scenario(relay: Relay, busy: bool) -> None:
    came: list[Message] = []
    address = read_address({"url": f"mqtt://{relay.address}"})
    receiver = Link(address, "receiver", subscription=Subscription("t/#"), on_message=came.append)
    sender = Link(address, "sender")
    tasks = [asyncio.create_task(link.run()) for link in (receiver, sender)]

    async def until(condition: object) -> None:
        async with asyncio.timeout(15):
            while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - links have no event for it
                await asyncio.sleep(0.01)

    await until(lambda: receiver.connected and sender.connected)
    await sender.publish("t/a", b"1", within=10)
    await until(lambda: len(came) == 1)
    await asyncio.to_thread(relay.reset)
    if busy:
        receiver.acknowledge(came[0].mid, came[0].qos)
    await sender.publish("t/a", b"2", within=10)
    await until(lambda: came[-1].payload == b"2")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
