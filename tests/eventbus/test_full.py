"""Topics and disks that are full: what is refused is told, what was acknowledged stays, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eventbus import cloudevents
from eventbus.bus import DeadLetter, EventBus
from eventbus.errors import BusError, BusFull, DeadLetterRefused, StoreFailed
from eventbus.jetstream import letters
from eventbus.jetstream.bus import JetStreamBus
from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker, Owner, event, ids

pytestmark = pytest.mark.broker

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("full"), "os")
    yield nats
    nats.stop()


@pytest.fixture
def broker(server: Nats) -> Broker:
    return Broker("nats", {**server.options, "maxBytes": str(MIB), "retain": "0"}, server)


async def publish(bus: EventBus, number: int, *, output: bool = False, size: int = 20_000) -> None:
    identity = cloudevents.dedupe_id("/test", str(number))
    await bus.publish("topic", event(number, size=size), dedupe=identity, output=output)


async def until_full(bus: EventBus, first: int = 0, *, output: bool = False) -> int:
    """Publish until refused; answers the first number that was not taken."""
    for number in range(first, first + 1000):
        try:
            await publish(bus, number, output=output)
        except BusFull:
            return number
    raise AssertionError("it never was full")


def letter(owner: Owner, broker: Broker) -> DeadLetter:
    return DeadLetter(
        id="",
        subscription=broker.subscription().key,
        trigger="t",
        subject="topic",
        reason="rejected",
        at=datetime.now(UTC),
        payload=owner.events[0].payload,
    )


def test_a_chain_on_one_full_topic_drains(broker: Broker) -> None:
    """A reads what is published and emits as much to the same topic, where B reads it."""

    async def test(bus: EventBus) -> None:
        readers = [broker.subscription(group="a"), broker.subscription(group="b")]
        first, second = [await Owner.open(bus, one) for one in readers]
        await bus.trim({"topic": readers})
        outside = await until_full(bus)
        for number in range(outside):
            (one,) = await first.take(1)
            await publish(bus, 10_000 + number, output=True)
            await first.intake.commit(0, one.seq, [])
            (other,) = await second.take(1)
            await second.intake.commit(0, other.seq, [])

        assert ids(first.events) == list(range(outside))
        assert ids(await second.take(outside))[-1] == 10_000 + outside - 1

    broker.run(test)


def test_outputs_that_no_trimming_makes_room_for_are_refused(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await bus.trim({"topic": [subscription]})
        outside = await until_full(bus)
        full = await until_full(bus, outside, output=True)

        assert outside < full
        assert ids(await owner.take(full)) == list(range(full))

    broker.run(test)


def test_a_dead_letter_is_stored_while_its_topic_is_full(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        full = await until_full(bus, await until_full(bus), output=True)
        (one,) = await owner.take(1)
        await owner.intake.dead_letter(letter(owner, broker), 0, one.seq)
        await owner.intake.commit(0, one.seq, [])
        await bus.trim({"topic": [subscription]})

        await publish(bus, full, output=True)
        assert [found.reason async for found in bus.dead_letters(subscription.key)] == ["rejected"]

    broker.run(test)


def test_dead_letters_that_are_full_leave_the_event_where_it_is(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "MAX_BYTES", 50_000)

    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        for number in range(5):
            await publish(bus, number)
        taken = await owner.take(5)
        refused = 0
        for one in taken:
            try:
                await owner.intake.dead_letter(letter(owner, broker), 0, one.seq)
            except DeadLetterRefused:
                refused += 1
        assert 0 < refused < 5

        await bus.purge_dead_letters(subscription.key)
        await owner.intake.dead_letter(letter(owner, broker), 0, taken[-1].seq)

    broker.run(test)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert os.getuid() != 0 or not os.environ.get("CI"), done.stderr
        pytest.skip(f"a small file system takes root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("durability", ["sync", "os"])
def test_a_full_disk_acknowledges_nothing_and_loses_nothing(small_disk: Path, durability: str) -> None:
    server = start_nats(small_disk / "broker", durability)  # type: ignore[arg-type]  # literal of the row
    broker = Broker("nats", {**server.options, "durability": durability}, server)
    acknowledged: list[int] = []

    async def fill(bus: EventBus, first: int) -> BusError:
        for number in range(first, first + 1000):
            try:
                await publish(bus, number, size=100_000)
            except BusError as error:
                return error
            acknowledged.append(number)
        raise AssertionError("the disk never was full")

    async def test(bus: EventBus) -> None:
        assert isinstance(bus, JetStreamBus)
        bus._publisher._deadline = 1.0
        error = await fill(bus, 0)
        assert isinstance(error, StoreFailed)
        assert "no space left on device" in str(error)
        assert not bus.connected
        assert bus.trouble is not None
        assert bus.trouble.reason == "StorageFailed"
        full = len(acknowledged)
        for _ in range(3):
            assert isinstance(await fill(bus, 2000), StoreFailed)
        assert len(acknowledged) == full

        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=48m", str(small_disk)], check=True)
        await asyncio.to_thread(server.restart)
        bus._publisher._deadline = 9.0
        await publish(bus, 3000)
        acknowledged.append(3000)
        assert bus.connected
        owner = await Owner.open(bus, broker.subscription())
        assert ids(await owner.take(len(acknowledged))) == acknowledged

    try:
        broker.run(test)
    finally:
        server.stop()
