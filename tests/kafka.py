"""A real Kafka broker for tests: one KRaft node on free loopback ports, its data under one directory."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from aiokafka.protocol.admin import DeleteTopicsRequest

from api.platform import LOOPBACK, spare
from tests.certificates import Authority
from tests.servers import Server, missing

VERSION = "4.1.0"
DEADLINE = 90.0
"""Seconds until a start counts as failed; on a busy machine two JVMs take their time."""
USER, PASSWORD = "evoke", "open sesame"
"""Good for PLAIN and SCRAM on the SASL listeners."""
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"

Listener = Literal["PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"]


def jars() -> Path:
    """Where scripts/kafka-jars put the broker's jars; skips the test without them, fails it when CI=true."""
    cache = Path(os.environ.get("EVOKE_CACHE") or Path.home() / ".cache/evoke")
    found = cache / "components" / f"kafka-{VERSION}"
    if not (found / "complete").exists() or not shutil.which("java"):
        missing("needs a real Kafka: run scripts/kafka-jars (openjdk-17-jre-headless, maven)")
    return found / "libs"


class Kafka(Server):
    """One broker; PLAINTEXT is always among its listeners."""

    name = "kafka"
    ends_within = 60.0

    def __init__(self, directory: Path, listeners: Sequence[Listener], *, client_certificates: bool = False) -> None:
        super().__init__(directory)
        self.ports: dict[str, int] = {name: spare() for name in ("PLAINTEXT", *listeners)}
        self._controller = spare()
        self._client_certificates = client_certificates
        self._libs = jars()
        self.authority = Authority(directory / "tls")
        self._identity(expired=False)

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the plain listener."""
        return self.address("PLAINTEXT")

    @property
    def options(self) -> dict[str, str]:
        """Options of a model.Bus of kind kafka."""
        return {"brokers": self.bootstrap}

    def address(self, listener: Listener) -> str:
        return f"{LOOPBACK}:{self.ports[listener]}"

    def _identity(self, *, expired: bool) -> None:
        certificate, key = self.authority.issue(LOOPBACK, expired=expired)
        (self.directory / "broker.pem").write_text(key + certificate)
        (self.directory / "ca.pem").write_text(self.authority.ca)

    def expire(self) -> None:
        """From its next start on the broker's certificate is one that ended yesterday."""
        self._identity(expired=True)

    def renew(self) -> None:
        """From its next start on the broker's certificate is good."""
        self._identity(expired=False)

    def _settings(self) -> str:
        jaas = "org.apache.kafka.common.security"
        users = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": ",".join(
                f"{name}://{LOOPBACK}:{port}" for name, port in {**self.ports, "CONTROLLER": self._controller}.items()
            ),
            "listener.security.protocol.map": ",".join(
                ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in self.ports)]
            ),
            "log.dirs": str(self.directory / "data"),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.directory / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.directory / "ca.pem"),
            "ssl.client.auth": "required" if self._client_certificates else "none",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # a broker that was killed may register again only when its old session has ended
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        for name in ("sasl_plaintext", "sasl_ssl"):
            if name.upper() in self.ports:
                lines[f"listener.name.{name}.plain.sasl.jaas.config"] = (
                    f"{jaas}.plain.PlainLoginModule required {users};"
                )
                for scram in ("scram-sha-256", "scram-sha-512"):
                    lines[f"listener.name.{name}.{scram}.sasl.jaas.config"] = f"{jaas}.scram.ScramLoginModule required;"
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    def _java(self, heap: str, *words: str) -> list[str]:
        fast = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")
        return ["java", f"-Xmx{heap}", *fast, "-cp", f"{self._libs}/*", *words]

    def start(self) -> None:
        """Start, and wait until it answers; from a coroutine, call it through asyncio.to_thread."""
        config = self.directory / "kafka.properties"
        config.write_text(self._settings())
        if not (self.directory / "data").exists():
            scram = [
                word
                for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for word in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
            ]
            words = ("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", str(config), *scram)
            done = subprocess.run(self._java("128m", *words), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        self._launch(self._java("512m", "kafka.Kafka", str(config)))
        self._wait_ready(self._answers, DEADLINE)

    def _answers(self) -> bool:
        """Whether an ApiVersions request (key 18, version 0) is answered: a broker does that once it takes clients."""
        try:
            with socket.create_connection((LOOPBACK, self.ports["PLAINTEXT"]), 5) as connection:
                connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
                return len(connection.recv(4)) == 4
        except OSError:
            return False


def delete_topics(names: Sequence[str]) -> Any:
    """The request of an operator who deletes topics."""
    return DeleteTopicsRequest(list(names), 5_000)


def start_kafka(directory: Path, *listeners: Listener, client_certificates: bool = False) -> Kafka:
    """A running broker whose data stand under *directory*; the caller stops it."""
    kafka = Kafka(directory, listeners, client_certificates=client_certificates)
    kafka.start()
    return kafka
