"""The NATS source against a real server: streams lose and double nothing, plain subjects say what they cannot do."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.meta import Key
from api.model import Source
from api.platform import spare
from eventbus import cloudevents, embedded
from eventbus.errors import BusFull, TooLarge
from tests.brokers import Nats, start_nats
from tests.certificates import authority
from tests.relay import Relay
from tests.sources.mqtt_world import Bus, run, running
from tests.sources.nats_world import outsider
from triggers.sources.nats import NatsSource
from triggers.sources.source import BadSource, SourceError

pytestmark = pytest.mark.broker
numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("nats"), "os")
    yield nats
    nats.stop()


def make(server: Nats, name: str = "", **options: str) -> NatsSource:
    key = Key("default", name or f"plant.n{next(numbers)}")
    source = Source(key=key, kind="nats", options={}, bus=Key("default", "default"), subject="s")
    return NatsSource(source, {**server.options, **options})


def fresh() -> str:
    return f"s{next(numbers)}"


def test_messages_of_a_stream_become_events(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, f"{name}.>")
            async with running(make(server, "plant.all", stream=name, subject=f"{name}.>"), bus):
                await other.send(f"{name}.a", b"31", Content_Type="text/csv", Device_Id="a7", Nats_Msg_Id="x")
                await other.send(f"{name}.b", b'{"celsius": 31}')
                await bus.wait(lambda: len(bus.events) == 2)

        first, second = sorted(bus.events, key=lambda event: str(event["subject"]))
        assert (first["type"], first["source"]) == ("io.evoke.nats.message", "nats://plant/all")
        assert (first["subject"], first["partitionkey"]) == (f"{name}.a", f"{name}.a")
        assert (first["data"], first["datacontenttype"], first["deviceid"]) == ("31", "text/csv", "a7")
        assert not any(attribute.startswith("nats") for attribute in first)
        assert str(first["id"]).startswith("1-")
        assert second["data"] == {"celsius": 31}

    run(test)


def test_events_that_clients_sent_stay_what_they_are(server: Nats) -> None:
    sent = cloudevents.encode(id="7", source="/dev", type="t", body=b"1", extensions={"partitionkey": "k"})

    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            async with running(make(server, stream=name, subject=name), bus):
                binary = {"ce_specversion": "1.0", "ce_id": "8", "ce_source": "/dev", "ce_type": "gr%C3%BCn"}
                await other.send(name, sent, Content_Type="application/cloudevents+json")
                await other.send(name, b"hot", **binary, Content_Type="text/plain")
                await other.send(name, b"x", **{**binary, "ce_type": "io.evoke.x"})
                await bus.wait(lambda: len(bus.events) == 3)

        assert bus.events[0] == json.loads(sent)
        assert (bus.events[1]["id"], bus.events[1]["type"], bus.events[1]["data"]) == ("8", "grün", "hot")
        assert bus.events[2]["type"] == "io.evoke.nats.message"
        assert bus.keys == ["k", name, name]
        assert bus.dedupes[0] == cloudevents.dedupe_id("/dev", "7")

    run(test)


@pytest.mark.parametrize(("start", "expected"), [("all", [0, 1, 2, 3]), ("new", [2, 3])])
def test_a_stream_never_read_begins_as_asked_and_goes_on_where_it_was(
    server: Nats, start: str, expected: list[int]
) -> None:
    async def test() -> None:
        name, source, bus = fresh(), f"plant.g{next(numbers)}", Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            for number in (0, 1):
                await other.send(name, str(number).encode())
            async with running(make(server, source, stream=name, subject=name, start=start), bus):
                for number in (2, 3):
                    await other.send(name, str(number).encode())
                await bus.wait(lambda: len(bus.events) == len(expected))
            await other.send(name, b"4")
            again = Bus()
            async with running(make(server, source, stream=name, subject=name, start=start), again):
                await again.wait(lambda: [event["data"] for event in again.events][-1:] == [4])
            names = await other.consumers(name)

        assert [event["data"] for event in bus.events] == expected
        repeated = {str(event["id"]) for event in bus.events} & {str(event["id"]) for event in again.events}
        assert len(again.events) == 1 + len(repeated)
        assert len(names) == 1

    run(test)


@pytest.mark.parametrize("retention", ["limits", "interest", "workqueue"])
def test_a_new_owner_goes_on_in_order_and_repeats_with_the_same_identity(server: Nats, retention: str) -> None:
    """The first one is killed: 300 messages taken, some on the bus, nothing acknowledged since."""

    async def test() -> None:
        name, source = fresh(), f"plant.o{next(numbers)}"
        first, second = Bus(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, f"{name}.*", retention=retention)
            dying = make(server, source, stream=name, subject=f"{name}.*")
            async with running(dying, first):
                first.refusing = BusFull("full")
                for number in range(300):
                    await other.send(f"{name}.{number % 3}", str(number).encode())
                await first.wait(lambda: first.asked >= 3)
                assert dying.state().received > 0
            async with running(make(server, source, stream=name, subject=f"{name}.*"), second):
                await second.wait(lambda: len(second.events) >= 300)
                if retention != "limits":
                    async with asyncio.timeout(10):
                        while await other.waiting(name):  # noqa: ASYNC110  # nothing tells when acks arrive
                            await asyncio.sleep(0.02)

        assert first.events == []
        for lane in range(3):
            data = [event["data"] for event in second.events if event["subject"] == f"{name}.{lane}"]
            assert data == list(range(lane, 300, 3))

    run(test)


@pytest.mark.parametrize("retention", ["limits", "interest", "workqueue"])
def test_a_killed_server_loses_and_doubles_nothing(server: Nats, retention: str) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name, retention=retention)
            async with running(make(server, stream=name, subject=name), bus):
                sending = asyncio.create_task(send_all(other, name))
                for mark in (60, 130):
                    await bus.wait(lambda mark=mark: len(bus.events) >= mark)  # type: ignore[misc]  # binds the round's
                    await asyncio.to_thread(server.restart)
                await sending
                await bus.wait(lambda: bus.events[-1]["data"] == 199)

        assert [event["data"] for event in bus.events] == list(range(200))

    async def send_all(other: object, name: str) -> None:
        for number in range(200):
            await other.send(name, str(number).encode(), Nats_Msg_Id=str(number))  # type: ignore[attr-defined]  # Outsider

    run(test)


def test_a_consumer_deleted_by_hand_is_made_again(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            async with running(make(server, stream=name, subject=name), bus):
                await other.send(name, b"0")
                await bus.wait(lambda: len(bus.events) == 1)
                for consumer in await other.consumers(name):
                    await other.js.delete_consumer(name, consumer)
                await other.send(name, b"1")
                await bus.wait(lambda: len(bus.events) == 2)

        assert [event["data"] for event in bus.events] == [0, 1]

    run(test)


def test_whoever_was_taken_over_stops(server: Nats) -> None:
    async def test() -> None:
        name, source = fresh(), f"plant.f{next(numbers)}"
        first, second = Bus(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            old = make(server, source, stream=name, subject=name)
            task = asyncio.create_task(old.run(first))
            await first.wait(lambda: old.state().connected)
            async with running(make(server, source, stream=name, subject=name), second):
                with pytest.raises(SourceError, match="another proxy"):
                    await task
                await other.send(name, b"1")
                await second.wait(lambda: second.events)

        assert first.events == []

    run(test)


def test_what_the_bus_refuses_does_not_stop_the_rest(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            source = make(server, stream=name, subject=name)
            async with running(source, bus):
                bus.refusing = TooLarge("no")
                await other.send(name, b"0")
                await bus.wait(lambda: "rejected" in source.state().message)
                bus.refusing = None
                await other.send(name, b"1")
                await bus.wait(lambda: bus.events)

        assert [event["data"] for event in bus.events] == [1]

    run(test)


def test_a_plain_subject_is_heard_while_connected_and_says_so(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        source = make(server, subject=f"{name}.*")
        async with outsider(server.options) as other, running(source, bus):
            await other.say(f"{name}.1", b"1", {"Room": "kitchen"})
            await bus.wait(lambda: len(bus.events) == 1)
            assert "lost" in source.state().message
            await asyncio.to_thread(server.restart)
            await bus.wait(lambda: source.state().connected)
            async with outsider(server.options) as later:
                await later.say(f"{name}.2", b"2")
            await bus.wait(lambda: len(bus.events) == 2)
            await source.publish(f"{name}.3", b"3")
            await bus.wait(lambda: len(bus.events) == 3)

        assert [event["data"] for event in bus.events] == [1, 2, 3]
        assert bus.events[0]["room"] == "kitchen"
        assert len(set(bus.dedupes)) == 3

    run(test)


def test_a_stream_that_comes_later_is_read_then(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        source = make(server, stream=name, subject=name, start="all")
        async with outsider(server.options) as other, running(source, bus, wait=False):
            await bus.wait(lambda: "stream not found" in source.state().message)
            assert (source.state().connected, source.state().reason) == (False, "Missing")
            await other.stream(name, name)
            await source.publish(name, b"1")
            await bus.wait(lambda: bus.events)

    run(test)


def why(**options: str) -> str:
    async def test() -> str:
        key = Key("default", "plant.why")
        source = NatsSource(
            Source(key=key, kind="nats", options={}, bus=Key("default", "default"), subject="s"),
            {"subject": "x", **options},
        )
        bus = Bus()
        async with running(source, bus, wait=False):
            await bus.wait(lambda: source.state().connected or "nothing was answered" not in source.state().message)
            return f"{source.state().reason}: {source.state().message}"

    return asyncio.run(test())


def test_each_way_of_not_connecting_has_its_reason(server: Nats) -> None:
    assert why(**{**server.options, "password": "guess"}).startswith("AuthFailed")
    assert why(url=f"nats://127.0.0.1:{spare()}").startswith("ConnectionRefused")
    assert why(url="nats://no-such-host.invalid").startswith("HostUnknown")


@pytest.mark.parametrize("subject", ["", "a..b", ">", "$JS.>"])
def test_bad_subjects_are_refused(server: Nats, subject: str) -> None:
    with pytest.raises(BadSource):
        make(server, subject=subject)


def test_connections_that_are_reset_again_and_again_lose_and_double_nothing(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        with Relay(int(server.url.rpartition(":")[2])) as relay:
            async with outsider(server.options) as other:
                await other.stream(name, f"{name}.*")
                source = make(server, stream=name, subject=f"{name}.*", url=f"nats://{relay.address}")
                async with running(source, bus):
                    for number in range(500):
                        await other.send(f"{name}.{number % 5}", str(number).encode())
                        if number % 100 == 50:
                            relay.reset()
                    await bus.wait(lambda: len(bus.events) >= 500)

        assert len(bus.events) == 500
        for lane in range(5):
            data = [event["data"] for event in bus.events if event["subject"] == f"{name}.{lane}"]
            assert data == list(range(lane, 500, 5))

    run(test)


def test_messages_larger_than_a_pull_may_hold_come_bit_by_bit(server: Nats) -> None:
    async def test() -> None:
        name, bus = fresh(), Bus()
        async with outsider(server.options) as other:
            await other.stream(name, name)
            source = make(server, stream=name, subject=name)
            async with running(source, bus):
                bus.open.clear()
                for _ in range(16):
                    await other.send(name, b"x" * (3 << 20))
                await bus.wait(lambda: source.state().received >= 5)
                assert source.state().received < 16
                bus.open.set()
                await bus.wait(lambda: len(bus.events) == 16)

    run(test)


@pytest.mark.parametrize("options", [{"token": "let me in"}, {"user": "u", "password": "p"}])
def test_token_user_and_tls_are_used(tmp_path: Path, options: dict[str, str]) -> None:
    issuer, secure = authority(tmp_path / "ca"), Nats(tmp_path, "os")
    for name, pem in zip(("cert", "key"), issuer.issue("127.0.0.1"), strict=True):
        (tmp_path / f"{name}.pem").write_text(pem)
    word = 'token: "let me in"' if "token" in options else "user: u, password: p"
    config = (
        f'listen: "{secure.settings.nats}"\njetstream {{ store_dir: "{tmp_path}/js" }}\n'
        f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}\nauthorization {{ {word} }}\n'
    )
    (tmp_path / "nats.conf").write_text(config)
    process = subprocess.Popen([str(embedded.binary()), "-c", str(tmp_path / "nats.conf")], stderr=subprocess.DEVNULL)

    async def test() -> None:
        reach = {"url": secure.url.replace("nats:", "tls:"), "caCert": issuer.ca, **options}
        source = Source(key=Key("default", "p.e"), kind="nats", bus=Key("default", "default"), subject="s")
        made, bus = NatsSource(source, {"subject": "x", **reach}), Bus()
        async with running(made, bus):  # tries until the server is there
            await made.publish("x", b"1")
            await bus.wait(lambda: bus.events)

    try:
        run(test)
        assert why(url=secure.url, caCert=issuer.ca, token="no").startswith("AuthFailed")
        assert why(url=secure.url.replace("nats:", "tls:"), caCert=authority(tmp_path / "b").ca).startswith("TLSFailed")
    finally:
        process.terminate()
        process.wait(10)
