"""A real Kafka broker for tests: one KRaft node on free loopback ports, its data under one directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from api.platform import LOOPBACK, spare
from tests.certificates import Authority

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
    if (found / "complete").exists() and shutil.which("java"):
        return found / "libs"
    how = "needs a real Kafka: run scripts/kafka-jars (openjdk-17-jre-headless, maven)"
    if os.environ.get("CI") == "true":
        pytest.fail(how)
    pytest.skip(how)


class Kafka:
    """One broker; PLAINTEXT is always among its listeners."""

    def __init__(self, directory: Path, listeners: Sequence[Listener], *, client_certificates: bool = False) -> None:
        self.directory = directory
        self.ports: dict[str, int] = {name: spare() for name in ("PLAINTEXT", *listeners)}
        self._controller = spare()
        self._client_certificates = client_certificates
        self._libs = jars()
        self._process: subprocess.Popen[bytes] | None = None
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

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

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
        with (self.directory / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(self._java("512m", "kafka.Kafka", str(config)), stdout=log, stderr=log)
        self._wait_ready()

    def _wait_ready(self) -> None:
        end = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._process is not None
            log = self.directory / "kafka.log"
            assert self._process.poll() is None, f"Kafka ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < end, f"Kafka does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether an ApiVersions request (key 18, version 0) is answered: a broker does that once it takes clients."""
        try:
            with socket.create_connection((LOOPBACK, self.ports["PLAINTEXT"]), 5) as connection:
                connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
                return len(connection.recv(4)) == 4
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop as an operator does."""
        self._end(signal.SIGTERM)

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it with *how* and start it again on the same data and ports."""
        self._end(how)
        self.start()

    def freeze(self) -> None:
        """Let it answer nothing until thaw(); returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.001)  # a signal is taken in its own time, and nothing tells when

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None


def start_kafka(directory: Path, *listeners: Listener, client_certificates: bool = False) -> Kafka:
    """A running broker whose data stand under *directory*; the caller stops it."""
    directory.mkdir(parents=True, exist_ok=True)
    kafka = Kafka(directory, listeners, client_certificates=client_certificates)
    kafka.start()
    return kafka
