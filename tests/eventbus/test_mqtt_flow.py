"""Nothing that a publisher was told is acknowledged falls out of a queue of the MQTT broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import pytest

from eventbus import cloudevents, raw
from eventbus.connect import STORE
from eventbus.errors import Unreachable
from eventbus.fronted import bus as fronted
from eventbus.fronted.bus import FrontedBus
from tests.brokers import Nats, start_nats
from tests.contract.bridged import Bridges
from tests.contract.harness import Broker, Owner, event, ids
from tests.mosquitto import Mosquitto, start_mosquitto

pytestmark = pytest.mark.broker
QUEUE, WINDOW = 60, 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("store"), "os")
    yield nats
    nats.stop()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """It keeps a few messages for a session, and drops the rest in silence."""
    text = f"max_queued_messages {QUEUE}\nmax_inflight_messages 20\nautosave_on_changes false"
    broker = start_mosquitto(tmp_path_factory.mktemp("front"), text=text)
    yield broker
    broker.stop()


@pytest.fixture
def broker(store: Nats, front: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr("eventbus.fronted.flow.WINDOW", WINDOW)
    return Broker("mqtt", {"url": front.url, **{STORE + name: value for name, value in store.options.items()}}, store)


def run(broker: Broker, test: Callable[[FrontedBus, Bridges], Awaitable[None]]) -> None:
    """*test* with the bus itself, whose publishes return at the PUBACK, and with its bridges."""

    async def inner(bus: object) -> None:
        assert broker._bridges is not None
        await test(bus._bus, broker._bridges)  # type: ignore[attr-defined]  # past the harness

    broker.run(inner)


def stored(number: int) -> str:
    return cloudevents.dedupe_id("/test", str(number))


def test_a_burst_waits_for_the_bridge(broker: Broker) -> None:
    async def test(bus: FrontedBus, bridges: Bridges) -> None:
        await bridges.bridge(bus, "burst")
        await asyncio.gather(*(bus.publish("burst", event(number)) for number in range(600)))
        await bridges.stored(stored(599))
        owner = await Owner.open(bus, broker.subscription("burst"))

        assert ids(await owner.take(600)) == list(range(600))
        assert bus._flow("burst").lost == 0

    run(broker, test)


def test_what_the_broker_has_no_room_for_is_not_acknowledged(
    broker: Broker, front: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bus: FrontedBus, bridges: Bridges) -> None:
        await bridges.bridge(bus, "away")
        await bridges.stop()
        bus._deadline = 1.0
        outcomes = await asyncio.gather(
            *(bus.publish("away", event(number)) for number in range(100)), return_exceptions=True
        )
        acknowledged = [number for number, outcome in enumerate(outcomes) if outcome is None]
        again = Bridges(broker.key, broker.options)
        await again.bridge(bus, "away")
        await again.stored(stored(acknowledged[-1]))
        owner = await Owner.open(bus, broker.subscription("away"))
        found = ids(await owner.take(len(acknowledged)))
        await bus.publish("away", event(100))
        await again.stop()

        assert acknowledged == found == list(range(WINDOW))
        assert all(isinstance(outcome, Unreachable) for outcome in outcomes[WINDOW:])

    run(broker, test)


def test_a_subject_that_nobody_reads_any_more_waits_for_nobody(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronted, "ASK_EVERY", 0.0)

    async def test(bus: FrontedBus, bridges: Bridges) -> None:
        await bridges.bridge(bus, "gone")
        await bus.publish("gone", event(0))
        await bridges.stored(stored(0))
        await bridges.stop()
        await bus.forget(broker.subscription("gone"))
        bus._deadline = 5.0
        for number in range(1, 2 * WINDOW):
            await bus.publish("gone", event(number))

        assert await bus._stands("gone")

    run(broker, test)


def test_retries_of_what_is_stored_take_no_room(broker: Broker) -> None:
    async def test(bus: FrontedBus, bridges: Bridges) -> None:
        await bridges.bridge(bus, "again")
        for _ in range(3 * WINDOW):
            await bus.publish("again", event(7))
        await bus.publish("again", event(8))
        await bridges.stored(stored(8))

    run(broker, test)


@pytest.mark.parametrize("subject", ["raw/#", "$share/apps/raw/+", "raw/x"])
def test_bytes_alone_and_wildcards_wait_for_the_bridge_too(broker: Broker, subject: str) -> None:
    """On the bus of a component, whose subjects may be filters and whose messages no events."""
    own = Broker("mqtt", {**broker.options, "dapr": "true"}, None)

    async def test(bus: FrontedBus, bridges: Bridges) -> None:
        await bridges.bridge(bus, subject)
        bodies = [f"{number // 2}".encode() for number in range(400)]  # each of them twice
        carriers = [
            raw.wrap(body, id=f"{own.key}-{number}", source="/app", type="t", time=datetime.now(UTC))
            for number, body in enumerate(bodies)
        ]
        await asyncio.gather(*(bus.publish("raw/x", carrier) for carrier in carriers))
        owner = await Owner.open(bus, own.subscription(subject))
        found = await owner.take(400)

        assert [raw.content(one.payload) for one in found] == bodies
        assert bus._flow(subject).lost == 0

    run(own, test)
