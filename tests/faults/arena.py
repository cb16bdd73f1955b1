"""One platform with its world around it, and the faults that may strike there.

A *world* is a kind of bus and a kind of source. Brokers of our own stand outside the platform, each behind a relay, so
that the network between them and the proxy can be broken too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import msgspec

from api.platform import LOOPBACK, spare
from tests.brokers import Nats, start_nats
from tests.faults.journal import Ledger
from tests.faults.producers import (
    HttpProducer,
    KafkaProducer,
    MqttProducer,
    NatsProducer,
    Producer,
    make_stream,
    make_topic,
)
from tests.faults.project import EMBEDDED, write
from tests.kafka import Kafka
from tests.mosquitto import Mosquitto, start_mosquitto
from tests.platform import Platform, until
from tests.relay import CALM, Relay, Weather

BusKind = Literal["embedded", "full", "kafka", "mqtt", "nats"]
"""``full``: the platform's own broker, with room for 1 MiB of each topic."""
SourceKind = Literal["http", "kafka", "mosquitto", "mqtt", "nats"]
"""``mqtt``: the platform's own listener."""
PARTITIONS = 4

EVENT_BUS = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {{name: work}}
spec:
  {kind}: {options}
"""


class World(msgspec.Struct, frozen=True):
    bus: BusKind
    source: SourceKind

    def __str__(self) -> str:
        return f"{self.source} to {self.bus}"


class RelayedKafka(Kafka):
    """Kafka tells its clients where to connect: here, to the relay."""

    relay: Relay

    @property
    def bootstrap(self) -> str:
        return self.relay.address

    def _settings(self) -> str:
        return super()._settings() + f"advertised.listeners=PLAINTEXT://{self.relay.address}\n"


class Broker(Protocol):
    """A real broker of the tests."""

    def stop(self) -> None: ...

    def restart(self, how: signal.Signals = ...) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Arena:
    """The running platform of one world; leave it as a context."""

    def __init__(
        self, world: World, folder: Path, ledger: Ledger, *, seed: int, proxies: int = 0, **project: Any
    ) -> None:
        self.world, self.folder, self.ledger = world, folder, ledger
        self.chance = random.Random(seed)
        self.platform = Platform(folder / "project")
        self.brokers: list[Broker] = []
        self.relays: list[Relay] = []
        self._options = [f"--port={spare()}", f"--proxies={proxies}"]
        self._project = project
        self._stack = contextlib.ExitStack()
        self._healing: list[threading.Timer] = []
        self._cures: list[Callable[[], object]] = []
        self._one_kafka: RelayedKafka | None = None
        self._survive = True
        """Whether every broker keeps what it acknowledged over kill -9; mosquitto writes its store now and then."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            bus, extra = self._bus()
            source = self._source()
            write(self.platform.project, self.ledger, bus=bus, source=source, extra=extra, **self._project)
            stack.callback(self.platform.down)
            self.platform.up(*self._options)
            self.platform.wait_ready("ledger")
            until(lambda: self._ready("eventsource/plant"), what="the event source ready")
            self.producer = self._producer()
            stack.callback(self.producer.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self.heal()
        self._stack.close()

    def _nats(self) -> tuple[Nats, Relay]:
        """A nats-server of its own, behind a relay."""
        server = start_nats(self.folder / f"nats-{len(self.brokers)}", "os")
        return server, self._join(server, int(server.settings.nats.rpartition(":")[2]))

    def _mosquitto(self) -> tuple[Mosquitto, Relay]:
        folder = self.folder / f"mosquitto-{len(self.brokers)}"
        broker = start_mosquitto(folder, text="autosave_on_changes false\nautosave_interval 1800")
        return broker, self._join(broker, broker.port, survives_kills=False)

    def _kafka(self) -> Kafka:
        """One Kafka for bus and source: it names the relay to its clients."""
        if self._one_kafka is None:
            (self.folder / "kafka").mkdir()
            kafka = RelayedKafka(self.folder / "kafka", ())
            kafka.relay = self._join(kafka, kafka.ports["PLAINTEXT"])
            kafka.start()
            self._one_kafka = kafka
        return self._one_kafka

    def _join(self, broker: Broker, port: int, *, survives_kills: bool = True) -> Relay:
        self._stack.callback(broker.stop)
        self.brokers.append(broker)
        self._survive = self._survive and survives_kills
        relay = self._stack.enter_context(Relay(port, seed=self.chance.randrange(1 << 30)))
        self.relays.append(relay)
        return relay

    def _bus(self) -> tuple[str, str]:
        """Name of the EventBus, and its document."""
        match self.world.bus:
            case "embedded":
                return "default", ""
            case "full":
                kind, options = "nats", "{maxBytes: 1048576}"
            case "nats":
                server, relay = self._nats()
                where = f'url: "nats://{relay.address}", username: {server.user}, password: "{server.password}"'
                kind, options = "nats", f"{{{where}}}"
            case "kafka":
                kind, options = "kafka", f'{{brokers: "{self._kafka().bootstrap}"}}'
            case "mqtt":
                kind, options = "mqtt", f'{{url: "tcp://{self._mosquitto()[1].address}"}}'
        return "work", EVENT_BUS.format(kind=kind, options=options)

    def _source(self) -> str:
        match self.world.source:
            case "http":
                return "http: {readings: {}}"
            case "kafka":
                make_topic(self._kafka().bootstrap, "ledger", PARTITIONS)
                where = f'brokers: "{self._kafka().bootstrap}"'
                return f"kafka: {{readings: {{{where}, topic: ledger, start: all}}}}"
            case "mosquitto":
                self._devices, relay = self._mosquitto()
                return f'mqtt: {{readings: {{url: "tcp://{relay.address}", topic: "ledger/#"}}}}'
            case "mqtt":
                return EMBEDDED
            case "nats":
                self._upstream, relay = self._nats()
                make_stream(self._upstream.options, "ledger", "ledger.>")
                user, password = self._upstream.user, self._upstream.password
                where = f'url: "nats://{relay.address}", username: {user}, password: "{password}"'
                return f'nats: {{readings: {{{where}, subject: "ledger.>", stream: ledger, start: all}}}}'

    def _producer(self) -> Producer:
        match self.world.source:
            case "http":
                address = self.platform.platform()["http"]
                return HttpProducer(address, "/webhook/default/plant/readings", self.ledger)
            case "kafka":
                return KafkaProducer(self._kafka().bootstrap, "ledger", self.ledger)
            case "mosquitto":
                return MqttProducer(f"{LOOPBACK}:{self._devices.port}", self.ledger)
            case "mqtt":
                return MqttProducer(self.platform.platform()["mqtt"], self.ledger)
            case "nats":
                return NatsProducer(self._upstream.options, "ledger", self.ledger)

    def kinds(self) -> list[str]:
        """Faults that can strike here."""
        found = {**PROCESSES, **(BROKERS if self.brokers else {}), **(NETWORK if self.relays else {})}
        if not self._survive:
            found.pop("broker killed")
        return sorted(found)

    def _ready(self, name: str) -> bool:
        rows = (row.split() for row in self.platform.evoke("get", check=False).stdout.splitlines())
        return any(row[:2] == [name, "True"] for row in rows)

    def condition(self) -> str:
        """What the platform says of itself, and its last log lines: for who has to find out what went wrong."""
        told = [self.platform.evoke("get", check=False).stdout]
        told.append(self.platform.evoke("describe", "function", "ledger", check=False).stdout)
        told.append(self.platform.evoke("describe", "eventsource", "plant", check=False).stdout)
        for log in sorted((self.platform.state / "logs").glob("plane-*.log")):
            told += [f"== {log.name}", *log.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(told)

    def strike(self, kind: str, seconds: float) -> None:
        """Let it happen; what lasts ends after *seconds*, or with heal()."""
        FAULTS[kind](self, seconds)

    def later(self, seconds: float, cure: Callable[[], object]) -> None:
        """Run *cure* once, after *seconds* or when everything is healed."""
        lock, done = threading.Lock(), []

        def once() -> None:
            with lock:
                if not done:
                    done.append(True)
                    cure()

        timer = threading.Timer(seconds, once)
        self._healing.append(timer)
        self._cures.append(once)
        timer.start()

    def rest(self) -> None:
        """Let what lasts run out."""
        for timer in self._healing:
            timer.join()

    def heal(self) -> None:
        for timer in self._healing:
            timer.cancel()
        for cure in self._cures:
            cure()
        self._healing.clear()
        self._cures.clear()
        for relay in self.relays:
            relay.set(CALM)


def kill_a_replica(arena: Arena, _seconds: float) -> None:
    replica = arena.chance.choice(until(lambda: arena.platform.replicas("ledger"), what="a ready replica"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(replica["pid"], signal.SIGKILL)


def freeze_a_replica(arena: Arena, seconds: float) -> None:
    replica = arena.chance.choice(until(lambda: arena.platform.replicas("ledger"), what="a ready replica"))
    _freeze(arena, replica["pid"], seconds)


def kill_a_plane(arena: Arena, _seconds: float) -> None:
    os.kill(arena.chance.choice(until(arena.platform.planes, what="a plane runs")), signal.SIGKILL)


def freeze_a_plane(arena: Arena, seconds: float) -> None:
    _freeze(arena, arena.chance.choice(until(arena.platform.planes, what="a plane runs")), seconds)


def _freeze(arena: Arena, pid: int, seconds: float) -> None:
    def thaw() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    arena.later(seconds, thaw)


def kill_everything(arena: Arena, _seconds: float) -> None:
    """The supervisor, and all with it; then `evoke up` again."""
    family = arena.platform.pids()
    arena.platform.kill("supervisor")
    until(lambda: not any(map(alive, family.values())), what="no orphan")
    arena.platform.up(*arena._options)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _end(role: str, how: signal.Signals) -> Callable[[Arena, float], None]:
    return lambda arena, _seconds: void(arena.platform.kill(role, how))


def void(_value: object) -> None:
    """For what is done for its effect."""


def _broker(act: Callable[[Broker], object]) -> Callable[[Arena, float], None]:
    return lambda arena, _seconds: void(act(arena.chance.choice(arena.brokers)))


def freeze_a_broker(arena: Arena, seconds: float) -> None:
    broker = arena.chance.choice(arena.brokers)
    broker.freeze()
    arena.later(seconds, broker.thaw)


def _weather(weather: Weather) -> Callable[[Arena, float], None]:
    def strike(arena: Arena, seconds: float) -> None:
        relay = arena.chance.choice(arena.relays)
        relay.set(weather)
        arena.later(seconds, lambda: relay.set(CALM))

    return strike


PROCESSES: dict[str, Callable[[Arena, float], None]] = {
    "replica killed": kill_a_replica,
    "replica frozen": freeze_a_replica,
    "proxy killed": kill_a_plane,
    "proxy frozen": freeze_a_plane,
    "controller killed": _end("controller", signal.SIGKILL),
    "zygote killed": _end("zygote", signal.SIGKILL),
    "platform's broker killed": _end("nats", signal.SIGKILL),
    "platform's broker restarted": _end("nats", signal.SIGTERM),
    "everything killed": kill_everything,
}
BROKERS: dict[str, Callable[[Arena, float], None]] = {
    "broker killed": _broker(lambda broker: broker.restart(signal.SIGKILL)),
    "broker restarted": _broker(lambda broker: broker.restart(signal.SIGTERM)),
    "broker frozen": freeze_a_broker,
}
NETWORK: dict[str, Callable[[Arena, float], None]] = {
    "network delayed": _weather(Weather(delay=0.1, jitter=0.08)),
    "network in slices": _weather(Weather(piece=11)),
    "network black hole": _weather(Weather(hole=True)),
    "network refused": _weather(Weather(refuse=True)),
    "connections reset": lambda arena, _seconds: void([relay.reset() for relay in arena.relays]),
}
FAULTS = {**PROCESSES, **BROKERS, **NETWORK}


def worlds(names: Sequence[str]) -> list[World]:
    """``source:bus`` each."""
    found = []
    for name in names:
        source, _, bus = name.partition(":")
        found.append(msgspec.convert({"bus": bus, "source": source}, World))
    return found
