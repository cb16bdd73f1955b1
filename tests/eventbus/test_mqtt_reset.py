"""A connection that the network resets, on uvloop as in the platform: it is noticed, and made anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from eventbus.mqtt.address import read_address
from eventbus.mqtt.link import Link, Subscription
from eventbus.mqtt.message import Message
from tests.faults.journal import Ledger
from tests.faults.producers import MqttProducer, messages
from tests.mosquitto import start_mosquitto
from tests.relay import Relay, Weather

pytestmark = pytest.mark.broker


def test_a_connection_reset_behind_unread_messages_is_made_anew(tmp_path: Path) -> None:
    broker = start_mosquitto(tmp_path)
    try:
        with Relay(broker.port) as relay, Ledger(tmp_path / "ledger") as ledger:
            sender = MqttProducer(f"127.0.0.1:{broker.port}", ledger)
            uvloop.run(scenario(relay, sender))
            sender.close()
    finally:
        broker.stop()


async def scenario(relay: Relay, sender: MqttProducer) -> None:
    came: set[str] = set()
    link: Link

    def take(message: Message) -> None:
        came.add(json.loads(message.payload)["id"])
        link.acknowledge(message.mid, message.qos)

    address = read_address({"url": f"mqtt://{relay.address}"})
    link = Link(address, "receiver", subscription=Subscription("ledger/#"), on_message=take)
    running = asyncio.create_task(link.run())

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():  # noqa: ASYNC110 - a link has no event for it
                await asyncio.sleep(0.01)

    await until(lambda: link.connected)
    for part in range(3):
        flow = messages(range(part * 100, part * 100 + 100))
        with relay.storm(Weather(piece=5000)):
            sender.publish(flow)  # the loop stands still meanwhile: all of it waits in the socket
            relay.reset()
        await until(lambda: len(came) == len(flow) * (part + 1))  # noqa: B023 - awaited here
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
