"""A secret gets another value while events flow: the proxy connects anew by itself, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from api.errors import NotFound
from api.frames import Assign, Config, Endpoints
from api.meta import Key, SecretKeyRef
from api.model import Bus, Option, Snapshot, digest
from eventbus import embedded
from eventbus.errors import BusError
from proxy import agent as agents
from proxy.agent import ProxyAgent
from proxy.rotation import Secrets
from proxy.settings import ProxySettings
from proxy.wiring import Wiring
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.brokers import Nats, start_nats
from tests.proxy.plant import REVISION, SUBJECT, Replica, event, subscription, until

REFERENCE = SecretKeyRef(name="broker", key="password")


def test_secrets_are_compared_and_never_kept() -> None:
    values = {"password": "one"}

    def resolve(option: Option) -> str:
        if isinstance(option, str):
            return option
        if option.key not in values:
            raise NotFound("no such secret")
        return values[option.key]

    secrets = Secrets({"url": "nats://localhost", "password": REFERENCE}, resolve)
    assert not secrets.changed  # nothing is in use
    secrets.use()
    assert not secrets.changed
    values["password"] = "two"
    assert secrets.changed
    del values["password"]
    assert not secrets.changed  # what cannot be read replaces nothing
    assert "one" not in repr(vars(secrets))
    plain = Secrets({"url": "nats://localhost"}, resolve)
    plain.use()
    assert not plain.changed


def rotate(nats: Nats, password: str) -> None:
    """Let the broker take another password, as its operator does; it ends connections that used the old one."""
    nats.password = password
    nats.settings = msgspec.structs.replace(nats.settings, password=password)
    embedded.write_config(nats.directory / "nats.conf", nats.settings)
    os.kill(nats.pid, signal.SIGHUP)


KEY = Key("default", "default")


class Publisher:
    """Publishes numbered events, each again until the bus has it."""

    def __init__(self, agent: ProxyAgent) -> None:
        self._agent, self._numbers = agent, itertools.count()
        self.acknowledged: set[int] = set()

    async def publish(self, count: int) -> None:
        for number in itertools.islice(self._numbers, count):
            await self._one(number)
            self.acknowledged.add(number)

    async def _one(self, number: int) -> None:
        while True:
            try:
                await self._agent.bus(KEY).publish(SUBJECT, event(number, key=f"k{number % 7}"), dedupe=str(number))
                break
            except BusError:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def proxy(directory: Path, nats: Nats, values: dict[str, str]) -> AsyncIterator[tuple[ProxyAgent, Replica]]:
    """A proxy that owns one subscription, whose bus has its password in a secret, and one replica."""

    def resolve(_namespace: str, option: Option) -> str:
        return option if isinstance(option, str) else values[option.key]

    settings = ProxySettings(
        control=directory / "c", cache=directory / "cache", resolve=resolve, interval=timedelta(seconds=0.1)
    )
    wiring = Wiring(http=HttpClient(), table=ReplicaTable(), send=lambda _frame: None)
    agent, sub, replica = ProxyAgent(settings, "boot", wiring, lambda: True), subscription(), await Replica().start()
    bus = Bus(key=KEY, kind="nats", options={"url": nats.url, "user": nats.user, "password": REFERENCE})
    content = Snapshot(namespace="default", subscriptions=(sub,), buses=(bus,))
    agent.on_config(Config(epoch=1, snapshot=msgspec.structs.replace(content, digest=digest(content))))
    agent.on_assign(Assign(epoch=1, subscriptions=(sub.key,)))
    wiring.table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(replica.endpoint,)))
    running = asyncio.create_task(agent.run())
    try:
        yield agent, replica
    finally:
        running.cancel()
        await agent.release()
        await agent.buses.close()
        await wiring.http.aclose()
        await replica.kill()


@pytest.mark.broker
@pytest.mark.parametrize("first", ["broker", "secret"])
def test_a_password_is_rotated_while_events_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.setattr(agents, "LOOK_EVERY", 0.2)

    async def scenario(nats: Nats) -> None:
        values = {"password": nats.password}
        async with proxy(tmp_path, nats, values) as (agent, replica):
            publisher, flow = Publisher(agent), list[asyncio.Task[None]]()
            await publisher.publish(100)
            before = agent.buses.link(KEY)
            for step in (first, "secret" if first == "broker" else "broker"):
                if step == "broker":
                    rotate(nats, "another one")
                else:
                    values["password"] = "another one"
                flow.append(asyncio.create_task(publisher.publish(50)))
                await asyncio.wait(flow, timeout=1)  # with only one side changed nobody may get through
            async with asyncio.timeout(20):
                await asyncio.gather(*flow)
            await until(lambda: agent.buses.link(KEY) is not before, 20)
            await publisher.publish(50)
            assert len(publisher.acknowledged) == 250
            await until(lambda: publisher.acknowledged <= set(replica.numbers), 20)

    nats = start_nats(tmp_path)
    try:
        asyncio.run(scenario(nats))
    finally:
        nats.stop()
