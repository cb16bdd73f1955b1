"""Deliveries to webhooks, from the socket to the bus."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.frames import SourceReading
from api.meta import Key, SecretKeyRef
from api.model import Bus, Option, Route, Source
from eventbus.errors import BusFull, TooLarge, Unreachable
from eventbus.jetstream_bus import JetStreamBus
from gateway.limits import Limits
from tests.brokers import Nats
from tests.gateway.world import HELLO, World, json_error, run, world

BUS = Key("default", "default")
PATH = "/webhook/default/hooks/push"
EVENT = '{"specversion":"1.0","id":"7","source":"/s","type":"t"}'
SPECIFIED = {"content-type": "application/cloudevents+json"}
BATCHED = {"content-type": "application/cloudevents-batch+json"}


def hook(name: str = "hooks.push", **options: Option) -> Source:
    key = Key("default", name)
    return Source(key=key, kind="http", bus=BUS, subject=f"default.{name}", options=options)


async def serve(here: World, *sources: Source) -> None:
    """Publish *sources*; they are served once the last one is."""
    here.publish(HELLO, sources=sources)
    path = sources[-1].options.get("path") or "/webhook/default/" + sources[-1].key.name.replace(".", "/")
    assert isinstance(path, str)
    while (await here.fetch(path))[0] != 405:  # noqa: ASYNC110 - what is observed is the other end
        await asyncio.sleep(0.002)


async def stored(here: World, name: str = "hooks.push", count: int = 1) -> list[dict[str, Any]]:
    tail: AsyncIterator[Any] = here.bus.tail(f"default.{name}", since=datetime(1970, 1, 1, tzinfo=UTC))
    return [msgspec.json.decode((await anext(tail)).payload) for _ in range(count)]


async def reading(here: World, want: Any, name: str = "hooks.push") -> SourceReading:
    """The first report about *name* that *want* accepts."""
    while True:
        for state in here.controller.agents.values():
            for one in state.readings.sources if state.readings else ():
                if one.source.name == name and want(one):
                    return one
        await asyncio.sleep(0.01)


def test_a_delivery_is_stored_before_it_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await serve(here, hook())
            headers = {"content-type": "text/plain", "idempotency-key": "k1"}
            answers = [await here.fetch(PATH + "/a/b", method="POST", headers=headers, body=b"x") for _ in range(2)]
            assert answers == [(202, b""), (202, b"")]
            await here.fetch(PATH, method="POST", headers={"idempotency-key": "k2"}, body=b"y")
            found = await stored(here, count=2)
            assert [(one["id"], one.get("subject"), one["data"]) for one in found] == [
                ("k1", "a/b", "x"),
                ("k2", None, "y"),
            ]

    run(scenario())


def test_a_batch_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await serve(here, hook())
            bad = await here.fetch(PATH, method="POST", headers=BATCHED, body=f"[{EVENT},{{}}]".encode())
            assert (bad[0], json_error(bad[1])["code"]) == (400, "E141")
            assert "index 1" in json_error(bad[1])["message"]
            empty = await here.fetch(PATH, method="POST", headers=BATCHED, body=b"[]")
            assert empty[0] == 202
            whole = f"[{EVENT.replace('7', '8')},{EVENT.replace('7', '9')}]".encode()
            assert (await here.fetch(PATH, method="POST", headers=BATCHED, body=whole))[0] == 202
            assert [one["id"] for one in await stored(here, count=2)] == ["8", "9"]

    run(scenario())


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (SPECIFIED, b"{}", 400, "E141"),
        ({"content-type": "application/cloudevents+xml"}, b"", 415, "E141"),
        (SPECIFIED, EVENT.replace('"/s"', '"io.evoke.x"').encode(), 403, "E142"),
        ({"content-encoding": "gzip"}, b"x", 415, "content-encoding"),
        ({}, b"x" * 2000, 413, "too-large"),
    ],
)
def test_what_is_no_delivery(tmp_path: Path, headers: dict[str, str], body: bytes, status: int, code: str) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(queued_body=1000)) as here:
            await serve(here, hook())
            answer = await here.fetch(PATH, method="POST", headers=headers, body=body)
            assert (answer[0], json_error(answer[1])["code"]) == (status, code)

    run(scenario())


def test_only_posts_are_deliveries(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await serve(here, hook())
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                response = await here.ask(PATH, method=method)
                assert (response.status, response.header(b"allow")) == (405, b"POST, OPTIONS")
                await response.read(1000)
            assert (await here.fetch("/webhook/default/hooks/other", method="POST"))[0] == 404
            assert (await here.fetch("/webhook/default/hooks/pushes", method="POST"))[0] == 404

    run(scenario())


def test_the_handshake_of_web_hooks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await serve(here, hook())
            asked = {"webhook-request-origin": "events.example.com", "webhook-request-rate": "120"}
            response = await here.ask(PATH, method="OPTIONS", headers=asked)
            names = (b"webhook-allowed-origin", b"webhook-allowed-rate", b"allow")
            assert response.status == 200
            assert [response.header(name) for name in names] == [b"events.example.com", b"*", b"POST, OPTIONS"]
            await response.read(1000)
            plain = await here.ask(PATH, method="OPTIONS")
            assert [plain.status, plain.header(b"webhook-allowed-origin")] == [200, None]
            await plain.read(1000)
            assert (await here.fetch(PATH, method="OPTIONS", headers={"webhook-request-origin": "a b"}))[0] == 400

    run(scenario())


def test_a_secret_is_asked_for_each_time(tmp_path: Path) -> None:
    """A rotated secret counts at once; one that is not there lets nobody in, and says so."""
    secrets: dict[str, str] = {}

    def resolve(_: str, option: Option) -> str:
        return option if isinstance(option, str) else secrets[option.name]

    def signed(secret: str) -> dict[str, str]:
        return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), b"x", hashlib.sha256).hexdigest()}

    async def scenario() -> None:
        async with world(tmp_path, resolve=resolve, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook(secret=SecretKeyRef(name="s", key="k")))
            statuses = []
            for value in ("", "one", "two"):
                secrets["s"] = value
                for sent in ("one", "two"):
                    answer = await here.fetch(PATH, method="POST", headers=signed(sent), body=b"x")
                    statuses.append(answer[0])
                    assert sent not in answer[1].decode()
            assert statuses == [503, 503, 202, 401, 401, 202]
            assert (await here.fetch(PATH, method="POST", body=b"x"))[0] == 401
            secrets["s"] = ""
            missing = await reading(here, lambda one: not one.connected)
            assert missing.reason == "SecretNotFound"
            secrets["s"] = "three"
            assert (await reading(here, lambda one: one.connected)).published == 2

    run(scenario())


def test_nothing_is_accepted_that_the_bus_did_not_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook())
            await reading(here, lambda one: one.connected)
            bus = here.bus
            works, answers = bus.publish, []
            for error in (Unreachable("no broker"), BusFull("full"), TooLarge("large")):

                async def fails(*_: object, why: Exception = error, **__: object) -> None:
                    raise why

                bus.publish = fails  # type: ignore[method-assign] # the broker's answer is the test
                response = await here.ask(PATH, method="POST", body=b"x")
                answers.append((response.status, response.header(b"retry-after")))
                await response.read(1000)
            assert answers == [(503, b"1"), (507, b"5"), (413, None)]
            bus.publish = works  # type: ignore[method-assign] # as above
            assert (await here.fetch(PATH, method="POST", body=b"x"))[0] == 202
            seen = await reading(here, lambda one: one.published)
            assert (seen.connected, seen.received, seen.published) == (True, 4, 1)

    run(scenario())


@pytest.mark.broker
def test_what_was_accepted_survives_a_killed_broker(tmp_path: Path) -> None:
    """A real broker is killed between deliveries: each is answered in time, and each 202 is an event that is stored."""
    broker = Nats(tmp_path)

    async def deliver(here: World, number: int) -> int:
        answer = await here.fetch(PATH, method="POST", headers={"idempotency-key": str(number)}, body=b"x")
        return answer[0]

    async def accepted(here: World, numbers: range) -> set[str]:
        async with asyncio.timeout(15):
            statuses = await asyncio.gather(*(deliver(here, number) for number in numbers))
        assert set(statuses) <= {202, 503}
        return {str(number) for number, status in zip(numbers, statuses, strict=True) if status == 202}

    async def scenario() -> None:
        await asyncio.to_thread(broker.start)
        bus = Bus(key=BUS, kind="nats", options=dict(broker.options))
        async with world(tmp_path, bus=bus, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook())
            stored = await accepted(here, range(50))
            assert len(stored) == 50
            deliveries = asyncio.create_task(accepted(here, range(50, 100)))
            await asyncio.to_thread(broker.kill)
            assert (await reading(here, lambda one: not one.connected)).reason
            stored |= await deliveries
            await asyncio.to_thread(broker.start)
            await reading(here, lambda one: one.connected)
            assert await deliver(here, 100) == 202
            there = JetStreamBus(bus, str)
            await there.connect()
            tail = there.tail("default.hooks.push", since=datetime(1970, 1, 1, tzinfo=UTC))
            found: set[str] = set()
            async for event in tail:
                found.add(msgspec.json.decode(event.payload)["id"])
                if "100" in found:
                    break
            await tail.aclose()
            await there.close()
            assert stored <= found

    try:
        run(scenario())
    finally:
        broker.stop()


def test_deliveries_have_a_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(per_function=1)) as here:
            await serve(here, hook())
            going, works = asyncio.Event(), here.bus.publish

            async def waits(*words: Any, **more: Any) -> None:
                await going.wait()
                await works(*words, **more)

            here.bus.publish = waits  # type: ignore[method-assign] # the broker's time is the test
            asked = [asyncio.create_task(here.fetch(PATH, method="POST", body=b"x")) for _ in range(2)]
            (refused,), (held,) = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            going.set()
            assert sorted([(await refused)[0], (await held)[0]]) == [202, 429]
            assert refused.result()[0] == 429
            assert (await here.fetch(PATH, method="POST", body=b"x"))[0] == 202

    run(scenario())


def test_a_path_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, interval=timedelta(milliseconds=20)) as here:
            await serve(
                here, hook("a.first", path="/in/github/"), hook("b.second", path="/in/github"), hook("c.in", path="/in")
            )
            assert (await here.fetch("/in/github/x", method="POST", body=b"1"))[0] == 202
            assert (await here.fetch("/in/githubs", method="POST", body=b"2"))[0] == 202
            assert [one["subject"] for one in await stored(here, "a.first")] == ["x"]
            assert [one["subject"] for one in await stored(here, "c.in")] == ["githubs"]
            lost = await reading(here, lambda one: not one.connected, "b.second")
            assert (lost.reason, lost.message) == (
                "PathTaken",
                "path /in/github belongs to event source default/a.first",
            )

    run(scenario())


def test_hosts_of_functions_are_theirs_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        hello = Route(key=Key("default", "hello"), hosts=("hello.example",))
        async with world(tmp_path, hello, limits=Limits(hold=timedelta(milliseconds=10))) as here:
            await serve(here, hook())
            answer = await here.fetch(PATH, method="POST", headers={"host": "hello.example"}, body=b"x")
            assert answer[0] not in {202, 401}

    run(scenario())
