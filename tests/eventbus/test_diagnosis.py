"""Each way in which a broker cannot be reached has its own reason, and a healthy one has none."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from api.conditions import REASONS
from api.platform import LOOPBACK, spare
from eventbus import diagnosis
from eventbus.diagnosis import Address, addresses, diagnose
from tests.brokers import Nats, start_nats
from tests.certificates import Authority, authority

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


def saying(words: bytes, *, first: bool = False) -> Serve:
    """A server that says *words*, *first* or once it was spoken to, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(64)
        writer.write(words)
        await writer.drain()
        writer.close()

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@contextlib.asynccontextmanager
async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(take, LOOPBACK, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def secured(directory: Path, pair: tuple[str, str]) -> ssl.SSLContext:
    chain = directory / "chain.pem"
    chain.write_text("\n".join(pair))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


def reason(kind: str, options: Mapping[str, str]) -> str:
    found = asyncio.run(diagnose(kind, options))
    assert found is None or (found.reason in REASONS["Connected"] and "\n" not in str(found))
    return found.reason if found else ""


def reason_at(kind: str, serve: Serve, context: ssl.SSLContext | None = None, **options: str) -> str:
    async def work() -> str:
        async with listening(serve, context) as port:
            found = await diagnose(kind, {"url": f"{LOOPBACK}:{port}", **options})
            return found.reason if found else ""

    return asyncio.run(work())


def test_the_name_and_the_port() -> None:
    assert reason("kafka", {"brokers": "nowhere.invalid:9092"}) == "HostUnknown"
    assert reason("mqtt", {"url": f"tcp://{LOOPBACK}:{spare()}"}) == "ConnectionRefused"
    assert reason("memory", {}) == ""
    assert reason("kafka", {"brokers": "a" * 70}) == "HostUnknown"
    assert reason("kafka", {"brokers": "a..b:9092"}) == "HostUnknown"


@pytest.mark.parametrize(
    ("kind", "words"), [("nats", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("kafka", b"INFO {}\r\n"), ("mqtt", b"-ERR\r\n")]
)
def test_another_protocol(kind: str, words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "WITHIN", 0.3)

    assert reason_at(kind, saying(words, first=True)) == "NotABroker"
    assert reason_at(kind, saying(b"")) == "NotABroker"


@pytest.mark.parametrize("kind", ["nats", "kafka", "mqtt", "redis"])
def test_a_web_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the end of a request's head."""
    monkeypatch.setattr(diagnosis, "WITHIN", 0.3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    assert reason_at(kind, serve) == "NotABroker"


@pytest.mark.parametrize(
    ("kind", "words"), [("nats", b"INFO {}\r\n"), ("kafka", b"\0\0\0\x0a\0\0\0\7\0\0"), ("mqtt", b"\x20\2\0\5")]
)
def test_the_protocol_itself(kind: str, words: bytes) -> None:
    """Of MQTT even a CONNACK that refuses the login: what is wrong then is told by the client."""
    assert reason_at(kind, saying(words, first=kind == "nats")) == ""


def test_a_broker_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "WITHIN", 0.2)

    assert reason_at("kafka", silent) == "Unreachable"
    assert reason_at("nats", silent) == "Unreachable"


def test_certificates(signer: Authority, tmp_path: Path) -> None:
    good = secured(tmp_path, signer.issue(LOOPBACK))
    old = secured(tmp_path, signer.issue(LOOPBACK, expired=True))
    other = secured(tmp_path, signer.issue("elsewhere.example"))
    kafka = saying(b"\0\0\0\x0a\0\0\0\7\0\0")

    assert reason_at("kafka", kafka, good, tls="true", caCert=signer.ca) == ""
    assert reason_at("kafka", kafka, good, tls="true") == "TLSFailed"
    assert reason_at("kafka", kafka, old, tls="true", caCert=signer.ca) == "CertificateExpired"
    assert reason_at("kafka", kafka, other, tls="true", caCert=signer.ca) == "TLSFailed"
    assert reason_at("kafka", kafka, good) == "TLSFailed"
    assert reason_at("kafka", kafka, tls="true", caCert=signer.ca) == "TLSFailed"


def test_one_of_several_addresses_is_enough() -> None:
    async def work() -> None:
        async with listening(saying(b"INFO {}\r\n", first=True)) as port:
            assert await diagnose("nats", {"url": f"nats://{LOOPBACK}:{spare()},nats://{LOOPBACK}:{port}"}) is None

    asyncio.run(work())


def test_addresses_have_the_ports_of_their_protocol() -> None:
    assert addresses("kafka", {"brokers": "a, b:1"}) == [Address("a", 9092, False), Address("b", 1, False)]
    assert addresses("mqtt", {"url": "ssl://user:secret@a"}) == [Address("a", 8883, True)]
    assert addresses("nats", {"url": "tls://a"}) == [Address("a", 4222, True)]
    assert addresses("nats", {"url": "nats://a:notaport"}) == []
    assert addresses("nats", {"url": "nats://[::1"}) == []
    assert addresses("nats", {"url": "nats://a:70000"}) == []


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.mark.broker
def test_a_real_nats_server(nats: Nats) -> None:
    assert reason("nats", nats.options) == ""
    assert reason("mqtt", {"url": f"tcp://{LOOPBACK}:{nats.mqtt_port}"}) == ""
    assert reason("mqtt", {"url": nats.url.replace("nats", "tcp")}) == "NotABroker"
    assert reason("kafka", {"brokers": nats.url.removeprefix("nats://")}) == "NotABroker"
