"""Subscriptions without a function: events to an address and to another topic, by the same rules of delivery."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.delivery import Backoff, DeliveryPolicy
from api.frames import Want
from api.meta import Key
from api.model import Subscription, TopicSink, UriSink
from proxy import sink_uri
from proxy.main import _denied
from proxy.outcomes import DONE, Outcome
from proxy.owner import Owner
from proxy.receiver import CREDIT
from proxy.settings import ProxySettings
from proxy.sink_uri import outcome
from tests.proxy.plant import FAST, Plant, Replica, event, subscription, until
from tests.proxy.web import Answer, Web
from tests.replicas.listening import listening

PATIENT = msgspec.structs.replace(FAST, max_attempts=1000)
TOPIC = "default.elsewhere"


def to(sink: UriSink | TopicSink, **changes: Any) -> Subscription:
    return subscription(backends=(), sink=sink, **changes)


async def tailed(plant: Plant, count: int) -> list[dict[str, Any]]:
    """The first *count* events of the topic, the stored ones included."""
    found = []
    async with asyncio.timeout(5):
        async for one in plant.bus.tail(TOPIC, since=datetime(2026, 1, 1, tzinfo=UTC)):
            found.append(json.loads(one.payload))
            if len(found) == count:
                break
    return found


def test_an_address_gets_structured_events_and_its_trigger_asks_for_no_replica() -> None:
    async def scenario() -> None:
        web = await Web().start()
        async with Plant(to(UriSink(url=web.url))) as plant:
            await plant.publish(*(event(n) for n in range(50)))
            await plant.drained()

            assert sorted(web.numbers) == list(range(50))
            head = web.heads[0].lower()
            assert head.startswith("post /take?from=evoke http/1.1\r\n")
            assert f"\r\nhost: 127.0.0.1:{web.port}\r\n" in head
            assert "\r\ncontent-type: application/cloudevents+json\r\n" in head
            assert "evoke-epoch" not in head
            assert not [frame for frame in plant.frames if isinstance(frame, Want)]
            reading = plant.reading
            assert (reading.revision.function, reading.done, reading.lag, reading.condition) == ("", 50, 0, "")
        await web.stop()

    asyncio.run(scenario())


def test_an_address_gets_each_key_in_order_and_no_more_than_its_credit_at_once() -> None:
    dice = random.Random(11)

    async def flaky(_one: dict[str, Any]) -> Answer:
        await asyncio.sleep(dice.random() / 1000)
        return (503 if dice.random() < 0.1 else 200), {}, ""

    async def scenario() -> None:
        web = Web()
        first: dict[str, list[int]] = {}

        async def handler(one: dict[str, Any]) -> Answer:
            answer = await flaky(one)
            if answer[0] == 200:
                first.setdefault(one["partitionkey"], []).append(one["data"]["n"])
            return answer

        web.handler = handler
        await web.start()
        async with Plant(to(UriSink(url=web.url), delivery=PATIENT)) as plant:
            for n in range(600):
                await plant.publish(event(n, key=f"k{n % 48}"))
            await plant.drained(30)

            assert sum(map(len, first.values())) == 600
            assert all(numbers == sorted(numbers) for numbers in first.values())
            assert 1 < web.most <= CREDIT
        await web.stop()

    asyncio.run(scenario())


def test_a_receiver_that_is_down_is_a_failing_downstream_until_it_is_back() -> None:
    async def scenario() -> None:
        web = await Web().start()
        await web.stop()
        async with Plant(to(UriSink(url=web.url), delivery=PATIENT)) as plant:
            await plant.publish(*(event(n, key=f"k{n}") for n in range(30)))
            await until(lambda: plant.reading.condition == "DownstreamFailing")
            assert plant.reading.lag == 30
            assert "cannot connect" in plant.reading.last_error

            await web.start()
            await plant.drained(10)
            assert sorted(set(web.numbers)) == list(range(30))
            assert plant.reading.condition == ""
        await web.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "want"),
    [
        (200, DONE),
        (204, DONE),
        (299, DONE),
        (301, Outcome("rejected", "HTTP 301: no", code=301)),
        (400, Outcome("rejected", "HTTP 400: no", code=400)),
        (401, Outcome("rejected", "HTTP 401: no", code=401)),
        (404, Outcome("failed", "HTTP 404: no", code=404)),
        (408, Outcome("failed", "HTTP 408: no", code=408)),
        (409, Outcome("failed", "HTTP 409: no", code=409)),
        (422, Outcome("rejected", "HTTP 422: no", code=422)),
        (429, Outcome("failed", "HTTP 429: no", timedelta(seconds=7), 429)),
        (500, Outcome("failed", "HTTP 500: no", code=500)),
        (503, Outcome("failed", "HTTP 503: no", timedelta(seconds=7), 503)),
        (600, Outcome("failed", "HTTP 600: no", code=600)),
    ],
)
def test_answers_of_an_address(status: int, want: Outcome) -> None:
    assert outcome(status, {b"retry-after": b"7"}, " no\r\n", 0.0) == want


def test_what_an_address_refuses_is_a_dead_letter_at_once() -> None:
    async def scenario() -> None:
        async def handler(one: dict[str, Any]) -> Answer:
            return (400, {}, "bad unit") if one["data"]["n"] == 1 else (200, {}, "")

        web = await Web(handler).start()
        async with Plant(to(UriSink(url=web.url))) as plant:
            await plant.publish(event(1, key="a"), event(2, key="a"))
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.reason, letter.error, letter.attempts) == ("rejected", "HTTP 400: bad unit", 1)
            assert web.numbers == [1, 2]
            assert plant.notices("dead-letter") == ["rejected: HTTP 400: bad unit; to the dead letters"]
        await web.stop()

    asyncio.run(scenario())


def test_an_address_says_when_to_come_again() -> None:
    async def scenario() -> None:
        times: list[float] = []

        async def handler(_one: dict[str, Any]) -> Answer:
            times.append(asyncio.get_running_loop().time())
            return (429, {"Retry-After": "1"}, "") if len(times) == 1 else (200, {}, "")

        web = await Web(handler).start()
        async with Plant(to(UriSink(url=web.url))) as plant:
            await plant.publish(event(1))
            await plant.drained()

            assert times[1] - times[0] >= 1.0
            assert plant.notices("attempt-failed") == ["attempt 1 of 3 failed: HTTP 429; again in 1 s"]
        await web.stop()

    asyncio.run(scenario())


def test_an_answer_that_does_not_come_costs_an_attempt() -> None:
    async def scenario() -> None:
        async def handler(_one: dict[str, Any]) -> Answer:
            if len(web.events) + web.running == 1:
                await asyncio.sleep(60)
            return 200, {}, ""

        web = Web(handler)
        await web.start()
        policy = DeliveryPolicy(timeout=timedelta(seconds=0.1), backoff=Backoff(initial=timedelta(milliseconds=5)))
        async with Plant(to(UriSink(url=web.url), delivery=policy)) as plant:
            await plant.publish(event(1))
            await plant.drained()

            assert plant.notices("attempt-failed") == ["attempt 1 of 10 failed: no answer within 0.1 s; again in 0.0 s"]
        await web.stop()

    asyncio.run(scenario())


def test_a_receiver_that_hangs_delays_no_other_trigger() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def hang(_one: dict[str, Any]) -> Answer:
            await gate.wait()
            return 200, {}, ""

        web = await Web(hang).start()
        async with Plant(subscription()) as plant:
            slow = to(UriSink(url=web.url), key=Key("default", "slow"), group="slow")
            other = Owner(slow, lambda: plant.bus, plant.wiring, "proxy-0")  # same turns, pulls and loop
            other.start()
            await plant.scale(Replica())
            await plant.publish(*(event(n, key=f"k{n}") for n in range(500)))
            await plant.drained()
            assert (plant.reading.done, web.running, web.events) == (500, CREDIT, [])
            (reading,) = other.readings()
            assert (reading.in_flight, reading.lag) == (CREDIT, 500)

            gate.set()
            await until(lambda: other.readings()[0].done == 500, 10)
            await other.stop()
        await web.stop()

    asyncio.run(scenario())


def test_an_answer_whose_body_never_ends_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_uri, "BODY_WAIT", 0.05)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 10\r\n\r\nmore")
        await reader.read()

    async def scenario() -> None:
        async with listening(serve, None) as address, Plant(to(UriSink(url=f"http://{address}/"))) as plant:
            await plant.publish(event(1))
            await plant.drained()
            assert (plant.reading.done, plant.reading.failed) == (1, 0)

    asyncio.run(scenario())


def test_a_new_address_is_tried_at_once() -> None:
    async def scenario() -> None:
        async def handler(_one: dict[str, Any]) -> Answer:
            return 500, {}, ""

        broken, good = await Web(handler).start(), await Web().start()
        slow = DeliveryPolicy(backoff=Backoff(initial=timedelta(minutes=5), cap=timedelta(minutes=5)))
        async with Plant(to(UriSink(url=broken.url), delivery=slow)) as plant:
            await plant.publish(event(1))
            await until(lambda: plant.reading.parked == 1)
            plant.owner.change(to(UriSink(url=good.url), delivery=slow))
            await plant.drained()

            assert good.numbers == [1]
        await broken.stop()
        await good.stop()

    asyncio.run(scenario())


def test_a_topic_gets_events_as_they_are_one_hop_further() -> None:
    async def scenario() -> None:
        async with Plant(to(TopicSink(subject=TOPIC))) as plant:
            await plant.publish(event(1, key="a"), event(2, key="a", evokehops=7), key="a")
            far = json.loads(event(3)) | {"evokehops": 4}
            await plant.publish(json.dumps(far).encode())
            await plant.drained()

            found = {one["id"]: one for one in await tailed(plant, 3)}
            assert found["1"] == json.loads(event(1, key="a")) | {"evokehops": 1}
            assert found["2"] == json.loads(event(2, key="a", evokehops=7)) | {"evokehops": 1}
            assert found["3"]["evokehops"] == 5

    asyncio.run(scenario())


def test_a_topic_gets_an_event_once_though_it_was_delivered_twice() -> None:
    async def scenario() -> None:
        async with Plant(to(TopicSink(subject=TOPIC))) as plant:
            await plant.publish(event(1))
            await plant.drained()
            await plant.publish(event(1), event(2))  # the same event once more, as after a lost commit
            await plant.drained()

            assert [one["id"] for one in await tailed(plant, 2)] == ["1", "2"]
            assert plant.reading.done == 3

    asyncio.run(scenario())


def test_events_that_come_back_by_topics_end_after_sixteen_hops() -> None:
    async def scenario() -> None:
        async with Plant(to(TopicSink(subject=subscription().subject))) as plant:
            await plant.publish(event(1, key="a"))
            await until(lambda: plant.reading.dead)
            (letter,) = await plant.letters()

            assert letter.reason == "loop"
            assert json.loads(letter.payload)["evokehops"] == 17

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "loopback", "refused"),
    [
        ("127.0.0.1", True, False),
        ("127.0.0.1", False, True),
        ("169.254.169.254", True, True),
        ("fe80::1%1", True, True),
    ],
)
def test_addresses_that_take_no_events(tmp_path: Path, address: str, loopback: bool, refused: bool) -> None:
    settings = ProxySettings(control=tmp_path, cache=tmp_path, loopback_sinks=loopback)

    assert bool(_denied(settings, address)) == refused
