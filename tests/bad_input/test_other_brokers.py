"""Kafka and MQTT brokers that are away, refuse or are something else: each says which, and all is well once they are
back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare
from tests.bad_input.buses import CODE, bus, function, goes_on, is_told, manifest, reason_of, refused_publish
from tests.certificates import authority
from tests.kafka import Kafka, start_kafka
from tests.mosquitto import Mosquitto, start_mosquitto
from tests.platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.broker]

USER, PASSWORD = "evoke", "p7f3"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    server = start_kafka(tmp_path_factory.mktemp("kafka"), "SASL_PLAINTEXT", "SSL")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    signer = authority(tmp_path_factory.mktemp("ca"))
    expired = (signer.ca, *signer.issue(LOOPBACK, expired=True))
    server = start_mosquitto(tmp_path_factory.mktemp("mosquitto"), user=USER, password=PASSWORD, tls=expired)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def platform(kafka: Kafka, mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    shell = Platform(tmp_path_factory.mktemp("others") / "project")
    shell.project.mkdir()
    (shell.project / "main.py").write_text(CODE)
    manifest(
        shell.project / "evoke.yaml",
        bus("log", "kafka", brokers=kafka.bootstrap),
        bus("things", "mqtt", url=mosquitto.url, username=USER, password=PASSWORD),
        function("reads", "log", "work"),
        function("hears", "things", "work/done"),
    )
    shell.up()
    try:
        yield shell
    finally:
        shell.down()


def test_every_trouble_of_mqtt_has_its_reason(
    platform: Platform, mosquitto: Mosquitto, kafka: Kafka, tmp_path: Path
) -> None:
    login = {"username": USER, "password": PASSWORD}
    ca = (mosquitto.directory / "ca.pem").read_text()
    buses = {
        "ConnectionRefused": bus("mq-refused", "mqtt", url=f"mqtt://{LOOPBACK}:{spare()}"),
        "HostUnknown": bus("mq-unknown", "mqtt", url="mqtt://nowhere.invalid"),
        "NotABroker": bus("mq-other", "mqtt", url=f"mqtt://{kafka.bootstrap}"),
        "AuthFailed": bus("mq-password", "mqtt", url=mosquitto.url, username=USER, password="wrong"),
        "CertificateExpired": bus("mq-expired", "mqtt", url=mosquitto.tls_url, caCert=ca, **login),
        "TLSFailed": bus("mq-tls", "mqtt", url=f"mqtts://{LOOPBACK}:{mosquitto.port}", **login),
    }
    file = manifest(tmp_path / "buses.yaml", *buses.values())
    platform.evoke("apply", "-f", str(file))

    for reason, declared in buses.items():
        is_told(platform, declared["metadata"]["name"], reason)
    platform.evoke("delete", "-f", str(file), "--yes")


def test_every_trouble_of_kafka_has_its_reason(
    platform: Platform, mosquitto: Mosquitto, kafka: Kafka, tmp_path: Path
) -> None:
    ca = kafka.authority.ca
    sasl = {"authRequired": True, "saslMechanism": "PLAIN", "saslUsername": "evoke", "tls": False}
    buses = {
        "ConnectionRefused": bus("k-refused", "kafka", brokers=f"{LOOPBACK}:{spare()}"),
        "HostUnknown": bus("k-unknown", "kafka", brokers="nowhere.invalid:9092"),
        "NotABroker": bus("k-other", "kafka", brokers=f"{LOOPBACK}:{mosquitto.port}"),
        "AuthFailed": bus("k-password", "kafka", brokers=kafka.address("SASL_PLAINTEXT"), saslPassword="wrong", **sasl),
        "TLSFailed": bus("k-tls", "kafka", brokers=kafka.address("SSL"), tls=True),
        "Connected": bus("k-good", "kafka", brokers=kafka.address("SSL"), tls=True, caCert=ca),
    }
    file = manifest(tmp_path / "buses.yaml", *buses.values())
    platform.evoke("apply", "-f", str(file))

    for reason, declared in buses.items():
        if reason == "Connected":
            reason_of(platform, "k-good", reason)
        else:
            is_told(platform, declared["metadata"]["name"], reason)
    platform.evoke("delete", "-f", str(file), "--yes")


def test_a_kafka_that_stands_still_goes_and_comes_back(platform: Platform, kafka: Kafka) -> None:
    goes_on(platform, "log", "work", "reads", 1)
    kafka.freeze()
    try:
        refused_publish(platform, "log", "work")
    finally:
        kafka.thaw()
    goes_on(platform, "log", "work", "reads", 3)
    kafka.stop()
    is_told(platform, "log", "ConnectionRefused")
    kafka.start()
    goes_on(platform, "log", "work", "reads", 4)


def test_an_mqtt_broker_that_stands_still_goes_and_comes_back(platform: Platform, mosquitto: Mosquitto) -> None:
    goes_on(platform, "things", "work/done", "hears", 1)
    mosquitto.freeze()
    try:
        refused_publish(platform, "things", "work/done")
    finally:
        mosquitto.thaw()
    goes_on(platform, "things", "work/done", "hears", 3)
    mosquitto.stop()
    is_told(platform, "things", "ConnectionRefused")
    mosquitto.start()
    goes_on(platform, "things", "work/done", "hears", 4)
