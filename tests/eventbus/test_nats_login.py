"""External NATS servers: users and TLS; each thing that is wrong has its own reason, and none needs a restart."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from api.errors import NotFound
from api.meta import Key, SecretKeyRef
from api.model import Bus, Option, Subscription
from api.platform import LOOPBACK, spare
from eventbus import cloudevents, embedded, errors
from eventbus.bus import EventBus
from eventbus.jetstream.bus import JetStreamBus
from eventbus.jetstream.login import BadAddress, login
from tests.certificates import Authority, authority
from tests.contract.harness import TIMEOUT, Owner, event, ids


@pytest.mark.parametrize(
    ("options", "servers", "user", "password", "token"),
    [
        ({}, ["nats://127.0.0.1:4222"], "", "", ""),
        ({"url": "a, tls://b:4333 ,nats://[::1]:1"}, ["nats://a:4222", "tls://b:4333", "nats://[::1]:1"], "", "", ""),
        ({"url": "nats://u:p%40w@h"}, ["nats://h:4222"], "u", "p@w", ""),
        ({"url": "nats://secret@h"}, ["nats://h:4222"], "", "", "secret"),
        ({"url": "nats://u:p@h", "user": "v", "password": "w"}, ["nats://h:4222"], "v", "w", ""),
    ],
)
def test_addresses_and_credentials(
    options: dict[str, str], servers: list[str], user: str, password: str, token: str
) -> None:
    way = login(options)

    assert (way.servers, way.user, way.password, way.token) == (servers, user, password, token)


@pytest.mark.parametrize("url", ["http://h", "nats://", "nats://u:secret@h:port", "h:99999"])
def test_what_is_no_address_says_so_without_its_secrets(url: str) -> None:
    with pytest.raises(BadAddress) as caught:
        login({"url": url})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "secure"),
    [
        ({"url": "h"}, False),
        ({"url": "tls://h"}, True),
        ({"url": "h", "tls": "true"}, True),
        ({"url": "h", "caCert": "PEM"}, True),
        ({"url": "h", "caCert": "PEM", "tls": "false"}, False),
    ],
)
def test_what_makes_encryption_a_must(options: dict[str, str], secure: bool) -> None:
    assert login(options).secure == secure


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


class Guarded:
    """A nats-server that knows its clients: one user, and TLS with *certificate* where there is one."""

    def __init__(self, directory: Path, signer: Authority, certificate: tuple[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self._signer, self.certificate = directory, signer, certificate
        self.port = spare()
        self.password = "first"
        self.clients_need_certificates = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, Option]:
        """Those of a client that does everything right."""
        secure = {"tls": "true", "caCert": self._signer.ca} if self.certificate else {}
        return {"url": f"{LOOPBACK}:{self.port}", "user": "evoke", "password": self.password, **secure}

    def configure(self) -> Path:
        file, tls = self.directory / "nats.conf", ""
        if self.certificate:
            names = {}
            for name, pem in zip(
                ("cert_file", "key_file", "ca_file"), (*self.certificate, self._signer.ca), strict=True
            ):
                (self.directory / name).write_text(pem)
                names[name] = str(self.directory / name)
            tls = f"tls: {json.dumps({**names, 'verify': self.clients_need_certificates})}"
        users = json.dumps([{"user": "evoke", "password": self.password}])
        file.write_text(
            f"listen: {LOOPBACK}:{self.port}\n{tls}\nauthorization: {{users: {users}}}\n"
            f"jetstream: {{store_dir: {json.dumps(str(self.directory / 'store'))}}}\n"
        )
        return file

    def start(self) -> None:
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([embedded.binary(), "-c", self.configure()], stdout=log, stderr=log)
        until = time.monotonic() + TIMEOUT
        while True:
            try:
                with socket.create_connection((LOOPBACK, self.port), timeout=1) as probe:
                    assert probe.recv(5) == b"INFO "
                    return
            except OSError:
                assert time.monotonic() < until, (self.directory / "nats.log").read_text()
                time.sleep(0.01)  # polling another process's listener: nothing tells when it opens

    def reload(self) -> None:
        """Take the configuration as it is now; clients whose credentials ended are put out."""
        assert self._process is not None
        self.configure()
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()


def bus_of(options: dict[str, Option], resolve: Callable[[Option], str] = str) -> JetStreamBus:
    return JetStreamBus(Bus(key=Key("ns", "guarded"), kind="nats", options=options), resolve)


def refusal(options: dict[str, Option]) -> errors.BusError:
    """Why the bus cannot be connected."""

    async def main() -> errors.BusError:
        bus = bus_of(options)
        try:
            async with asyncio.timeout(TIMEOUT):
                with pytest.raises(errors.BusError) as caught:
                    await bus.connect()
            return caught.value
        finally:
            await bus.close()

    return asyncio.run(main())


@contextmanager
def running(server: Guarded) -> Iterator[Guarded]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def secured(tmp_path: Path, signer: Authority) -> Iterator[Guarded]:
    with running(Guarded(tmp_path / "nats", signer, signer.issue(LOOPBACK))) as server:
        yield server


@pytest.fixture
def plain(tmp_path: Path, signer: Authority) -> Iterator[Guarded]:
    with running(Guarded(tmp_path / "nats", signer)) as server:
        yield server


@asynccontextmanager
async def connected(options: dict[str, Option], resolve: Callable[[Option], str] = str) -> AsyncIterator[JetStreamBus]:
    bus = bus_of(options, resolve)
    try:
        await bus.connect()
        yield bus
    finally:
        await bus.close()


async def publish(bus: EventBus, number: int) -> None:
    await bus.publish("topic", event(number), dedupe=cloudevents.dedupe_id("/test", str(number)))


async def until(seen: Callable[[], object]) -> None:
    """Look until it is so: nothing tells what the other process has done."""
    async with asyncio.timeout(TIMEOUT):
        while not seen():  # noqa: ASYNC110  # another process: nothing tells
            await asyncio.sleep(0.01)


async def all_of(bus: JetStreamBus, count: int) -> list[int]:
    subscription = Subscription(key=Key("ns", "g"), bus=bus.key, subject="topic", group="g", start="all")
    owner = await Owner.open(bus, subscription)
    return ids(await owner.take(count))


@pytest.mark.broker
def test_a_user_over_tls_publishes_and_receives(secured: Guarded) -> None:
    async def main() -> None:
        async with connected(secured.options) as bus:
            await asyncio.gather(*(publish(bus, number) for number in range(50)))
            assert await all_of(bus, 50) == list(range(50))

    asyncio.run(main())


@pytest.mark.broker
def test_one_server_of_several_is_enough(secured: Guarded) -> None:
    async def main() -> None:
        for url in (
            f"{LOOPBACK}:{spare()},{LOOPBACK}:{secured.port}",
            f"{LOOPBACK}:{secured.port},{LOOPBACK}:{spare()}",
        ):
            async with connected({**secured.options, "url": url}) as bus:
                await publish(bus, 1)

    asyncio.run(main())


@pytest.mark.broker
def test_a_client_shows_its_certificate(secured: Guarded, signer: Authority, tmp_path: Path) -> None:
    secured.clients_need_certificates = True
    secured.restart()
    cert, key = signer.issue("client")

    async def main() -> None:
        async with connected({**secured.options, "clientCert": cert, "clientKey": key}) as bus:
            await publish(bus, 1)

    asyncio.run(main())
    none = refusal(secured.options)
    assert (none.reason, "got none" in str(none)) == ("TLSFailed", True)
    cert, key = authority(tmp_path / "stranger").issue("client")
    strange = refusal({**secured.options, "clientCert": cert, "clientKey": key})
    assert (strange.reason, "did not take ours" in str(strange)) == ("TLSFailed", True)


@pytest.mark.broker
def test_each_mistake_has_its_reason(secured: Guarded, tmp_path: Path) -> None:
    options = secured.options
    stranger = authority(tmp_path / "stranger")
    wrong: dict[str, dict[str, Option]] = {
        "AuthFailed": {"password": "wrong"},
        "TLSFailed": {"caCert": stranger.ca},
        "ConnectionRefused": {"url": f"{LOOPBACK}:{spare()}"},
        "HostUnknown": {"url": "nats://no-such-host.invalid:4222"},
    }

    for reason, change in wrong.items():
        error = refusal({**options, **change})
        assert error.reason == reason
        assert "\n" not in str(error)
        assert "first" not in str(error)
    assert refusal({**options, "password": ""}).reason == "AuthFailed"


@pytest.mark.broker
def test_a_name_that_the_certificate_does_not_have(tmp_path: Path, signer: Authority) -> None:
    with running(Guarded(tmp_path / "nats", signer, signer.issue("elsewhere.test"))) as server:
        error = refusal(server.options)

    assert error.reason == "TLSFailed"
    assert "host name" in str(error)


@pytest.mark.broker
def test_an_expired_certificate(tmp_path: Path, signer: Authority) -> None:
    with running(Guarded(tmp_path / "nats", signer, signer.issue(LOOPBACK, expired=True))) as server:
        assert refusal(server.options).reason == "CertificateExpired"


@pytest.mark.broker
def test_what_is_to_be_encrypted_is_never_said_in_the_open(plain: Guarded) -> None:
    for options in (plain.options, {"url": plain.options["url"]}):
        assert refusal({**options, "tls": "true"}).reason == "TLSFailed"


@pytest.mark.broker
def test_another_protocol_on_the_port() -> None:
    async def main() -> str:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(b"SSH-2.0-other\r\n")
                await reader.read()
            finally:
                writer.close()

        async with await asyncio.start_server(speak, LOOPBACK, 0) as other:
            bus = bus_of({"url": f"{LOOPBACK}:{other.sockets[0].getsockname()[1]}"})
            with pytest.raises(errors.BusError) as caught:
                await bus.connect()
            await bus.close()
        return caught.value.reason

    assert asyncio.run(main()) == "NotABroker"


@pytest.mark.broker
def test_a_password_that_changed_is_taken_up_without_loss(plain: Guarded) -> None:
    secret = {"password": "first"}
    options: dict[str, Option] = {**plain.options, "password": SecretKeyRef(name="nats", key="password")}

    def resolve(option: Option) -> str:
        if not isinstance(option, SecretKeyRef):
            return option
        if option.key not in secret:
            raise NotFound("the secret has gone")
        return secret[option.key]

    async def main() -> None:
        async with connected(options, resolve) as bus:
            await publish(bus, 0)
            for number, password in enumerate(("second", "third"), 1):
                del secret["password"]
                plain.password = password
                await asyncio.to_thread(plain.reload)
                await until(lambda: bus.trouble)
                sent = asyncio.create_task(publish(bus, number))
                secret["password"] = password
                await sent
                assert bus.connected
                assert bus.trouble is None
            assert await all_of(bus, 3) == [0, 1, 2]

    asyncio.run(main())


@pytest.mark.broker
def test_a_certificate_that_was_renewed_is_taken_up(secured: Guarded, signer: Authority, tmp_path: Path) -> None:
    options: dict[str, Option] = {**secured.options, "caCert": SecretKeyRef(name="nats", key="ca")}
    secret = {"ca": signer.ca}
    next_signer = authority(tmp_path / "next")

    def resolve(option: Option) -> str:
        return secret[option.key] if isinstance(option, SecretKeyRef) else option

    async def main() -> None:
        async with connected(options, resolve) as bus:
            await publish(bus, 0)
            secured.certificate = next_signer.issue(LOOPBACK)
            secured._signer = next_signer
            await asyncio.to_thread(secured.restart)
            await until(lambda: bus.trouble)
            sent = asyncio.create_task(publish(bus, 1))
            secret["ca"] = next_signer.ca
            await sent
            assert await all_of(bus, 2) == [0, 1]

    asyncio.run(main())
