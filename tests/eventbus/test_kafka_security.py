"""SASL and TLS on a real broker: what is right connects, and what is wrong says what, and works once it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from api.meta import Key
from api.model import Bus, Option, Subscription
from api.platform import LOOPBACK, spare
from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.connect import connect
from eventbus.errors import (
    AuthFailed,
    BusError,
    CertificateExpired,
    HostUnknown,
    NotABroker,
    NothingListens,
    TlsFailed,
    Unreachable,
)
from tests.certificates import authority
from tests.kafka import PASSWORD, USER, Kafka, start_kafka

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    cluster = start_kafka(tmp_path_factory.mktemp("kafka"), "SASL_PLAINTEXT", "SSL", "SASL_SSL")
    yield cluster
    cluster.stop()


def text(option: Option) -> str:
    assert isinstance(option, str)
    return option


def bus_of(options: dict[str, str]) -> EventBus:
    return connect(Bus(key=Key("secure", "default"), kind="kafka", options=dict(options)), text)


def sasl(kafka: Kafka, mechanism: str, **more: str) -> dict[str, str]:
    return {
        "brokers": kafka.address("SASL_SSL"),
        "authRequired": "true",
        "saslMechanism": mechanism,
        "saslUsername": USER,
        "saslPassword": PASSWORD,
        "caCert": kafka.authority.ca,
        **more,
    }


async def works(bus: EventBus) -> None:
    """One event goes there and comes back."""
    subscription = Subscription(
        key=Key("secure", "s"), bus=Key("secure", "default"), subject="t", group="g", start="all"
    )
    came = asyncio.Event()
    payload = cloudevents.encode(id="1", source="/s", type="t")
    intake = await bus.open(subscription, worker="w", deliver=lambda _: came.set(), lost=lambda _: None)
    await bus.publish("t", payload)
    intake.request(1)
    async with asyncio.timeout(10):
        await came.wait()
    await intake.close()


async def refusal(options: dict[str, str]) -> BusError:
    bus = bus_of(options)
    try:
        with pytest.raises(BusError) as caught:
            await bus.connect()
    finally:
        await bus.close()
    assert not bus.connected
    return caught.value


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_mechanism_connects_over_tls(kafka: Kafka, mechanism: str) -> None:
    async def test() -> None:
        bus = bus_of(sasl(kafka, mechanism))
        try:
            assert await bus.connect() == "kafka, 1 broker"
            await works(bus)
        finally:
            await bus.close()

    asyncio.run(test())


def test_tls_alone_and_sasl_alone_connect(kafka: Kafka) -> None:
    async def test() -> None:
        plain = sasl(kafka, "SCRAM-SHA-256", brokers=kafka.address("SASL_PLAINTEXT"), tls="false")
        for options in ({"brokers": kafka.address("SSL"), "caCert": kafka.authority.ca}, plain):
            bus = bus_of(options)
            try:
                await bus.connect()
                await works(bus)
            finally:
                await bus.close()

    asyncio.run(test())


def test_what_is_wrong_is_told_apart(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> None:
    stranger = authority(tmp_path_factory.mktemp("stranger"))
    tls = {"brokers": kafka.address("SSL"), "caCert": kafka.authority.ca}
    cases: list[tuple[dict[str, str], type[BusError], str]] = [
        (sasl(kafka, "PLAIN", saslPassword="guess"), AuthFailed, "refused the credentials"),
        (sasl(kafka, "SCRAM-SHA-512", saslPassword="guess"), AuthFailed, "refused the credentials"),
        (sasl(kafka, "SCRAM-SHA-256", saslUsername="nobody"), AuthFailed, "refused the credentials"),
        (sasl(kafka, "PLAIN", saslPassword=""), AuthFailed, "needs a user name and a password"),
        (sasl(kafka, "PLAIN", brokers=kafka.address("SSL")), AuthFailed, "takes no SASL"),
        ({**tls, "caCert": stranger.ca}, TlsFailed, "certificate"),
        ({**tls, "caCert": "no PEM"}, AuthFailed, "certificates do not hold"),
        ({**tls, "brokers": kafka.bootstrap}, TlsFailed, "TLS"),
        ({"brokers": kafka.address("SSL")}, TlsFailed, "wants TLS"),
        ({"brokers": f"{LOOPBACK}:{spare()}"}, NothingListens, "nothing listens"),
        ({"brokers": "no-such-host.invalid:9092"}, HostUnknown, "cannot be resolved"),
    ]

    async def test() -> None:
        for options, error, words in cases:
            found = await refusal(options)
            assert (type(found), words in str(found)) == (error, True), (options["brokers"], found)
            assert PASSWORD not in str(found)
            assert "guess" not in str(found)

    asyncio.run(test())


def test_another_protocol_is_told_apart() -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def test() -> None:
        async with await asyncio.start_server(hello, LOOPBACK, 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert isinstance(await refusal({"brokers": f"{LOOPBACK}:{port}"}), NotABroker)

    asyncio.run(test())


def test_the_second_of_two_brokers_is_enough(kafka: Kafka) -> None:
    async def test() -> None:
        bus = bus_of({"brokers": f"{LOOPBACK}:{spare()},{kafka.bootstrap}"})
        try:
            await bus.connect()
            await works(bus)
        finally:
            await bus.close()

    asyncio.run(test())


def test_an_expired_certificate_is_told_and_recovered_from(kafka: Kafka) -> None:
    async def test() -> None:
        bus = bus_of(sasl(kafka, "SCRAM-SHA-512"))
        await bus.connect()
        await works(bus)
        kafka.expire()
        await asyncio.to_thread(kafka.restart)
        try:
            bus._deadline = 1.0  # type: ignore[attr-defined]  # nine seconds are long for a test
            with pytest.raises(Unreachable):
                await bus.publish("t", cloudevents.encode(id="2", source="/s", type="t"))
            assert isinstance(await refusal(sasl(kafka, "SCRAM-SHA-512")), CertificateExpired)
            async with asyncio.timeout(10):
                while not isinstance(bus.trouble, CertificateExpired):  # type: ignore[attr-defined]  # noqa: ASYNC110  # nothing tells when
                    await asyncio.sleep(0.05)
            assert not bus.connected
            bus._deadline = 9.0  # type: ignore[attr-defined]  # as it was
        finally:
            kafka.renew()
            await asyncio.to_thread(kafka.restart)
        await works(bus)
        assert bus.connected
        assert bus.trouble is None  # type: ignore[attr-defined]  # as proxy/buses.py reads it
        await bus.close()

    asyncio.run(test())
