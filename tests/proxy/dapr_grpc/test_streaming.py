"""Streaming subscriptions: the unmodified SDK, sync and async, and raw streams that do what they should not."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse
from dapr.proto.runtime.v1 import appcallback_pb2, pubsub_pb2
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub

from api.model import Component
from proxy.dapr_grpc import streaming
from replicas.apps.client import Place
from tests.proxy.dapr_grpc.site import BUS, SHOP, Site, component, streamed, until


@asynccontextmanager
async def controlled(directory: Path, **options: Any) -> AsyncIterator[Site]:
    """A site whose controller declares what apps ask for."""
    async with Site(directory, **options) as site:
        controller = asyncio.ensure_future(site.answer_streams())
        try:
            yield site
        finally:
            controller.cancel()
            await asyncio.wait({controller})


async def publish(site: Site, topic: str, *numbers: int) -> None:
    bus = site.buses.get(BUS)
    assert bus is not None
    for number in numbers:
        members = {
            "specversion": "1.0", "id": f"{topic}-{number}", "source": "/test", "type": "t", "topic": topic,
            "pubsubname": "events", "datacontenttype": "application/json", "data": {"n": number}, "custom": "c",
        }  # fmt: skip
        await bus.publish(topic, json.dumps(members).encode())


def initial(pubsub: str = "events", topic: str = "orders", **more: Any) -> Any:
    first = pubsub_pb2.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=pubsub, topic=topic, **more)
    return pubsub_pb2.SubscribeTopicEventsRequestAlpha1(initial_request=first)


def processed(event_id: str, status: int = 0) -> Any:
    said = pubsub_pb2.SubscribeTopicEventsRequestProcessedAlpha1(
        id=event_id, status=appcallback_pb2.TopicEventResponse(status=status)
    )
    return pubsub_pb2.SubscribeTopicEventsRequestAlpha1(event_processed=said)


def test_the_sdk_takes_a_thousand_events_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            seen: list[int] = []
            open_, done = threading.Event(), threading.Event()

            def work() -> None:
                with DaprClient() as client:
                    subscription = client.subscribe("events", "orders")
                    open_.set()
                    for message in subscription:
                        seen.append(message.data()["n"])
                        assert (message.topic(), message.pubsub_name(), message.source()) == (
                            "orders", "events", "/test",
                        )  # fmt: skip
                        assert message.extensions()["custom"] == "c"
                        subscription.respond_success(message)
                        if len(seen) == 1000:
                            assert done.wait(10)  # an answer that close() overtakes is none
                            break
                    subscription.close()

            working = asyncio.ensure_future(site.sdk(work))
            await asyncio.to_thread(open_.wait, 10)
            await publish(site, "orders", *range(1000))
            (owner,) = site.subscriptions._owners.values()
            await until(lambda: owner.readings()[0].done == 1000, 20)
            done.set()
            await working
            assert seen == list(range(1000))

    asyncio.run(scenario())


def test_handlers_say_success_retry_and_drop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            seen: list[int] = []
            ready, done = threading.Event(), threading.Event()

            def handle(message: Any) -> TopicEventResponse:
                number = message.data()["n"]
                seen.append(number)
                if number == 1 and seen.count(1) == 1:
                    return TopicEventResponse("retry")
                return TopicEventResponse("drop" if number == 2 else "success")

            def work() -> None:
                with DaprClient() as client:
                    close = client.subscribe_with_handler("events", "orders", handle)
                    ready.set()
                    assert done.wait(10)
                    close()

            working = asyncio.ensure_future(site.sdk(work))
            await asyncio.to_thread(ready.wait, 10)
            await publish(site, "orders", 0, 1, 2, 3)
            (owner,) = site.subscriptions._owners.values()
            await until(lambda: (owner.readings()[0].done, owner.readings()[0].dead) == (3, 1))
            done.set()
            await working
            assert sorted(seen) == [0, 1, 1, 2, 3]

    asyncio.run(scenario())


def test_the_async_sdk(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            seen: list[int] = []
            ready = threading.Event()

            async def take() -> None:
                async with AsyncDaprClient() as client:
                    subscription = await client.subscribe("events", "orders")
                    ready.set()
                    async for message in subscription:
                        seen.append(message.data()["n"])
                        await subscription.respond_success(message)
                        if len(seen) == 50:
                            break
                    await subscription.close()

            working = asyncio.ensure_future(site.sdk(lambda: asyncio.run(take())))
            await asyncio.to_thread(ready.wait, 10)
            await publish(site, "orders", *range(50))
            await asyncio.wait_for(working, 20)
            assert seen == list(range(50))

    asyncio.run(scenario())


def test_the_sdk_comes_back_to_what_it_had_not_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            seen: queue.Queue[int] = queue.Queue()
            done: list[int] = []
            taken = threading.Event()

            def work() -> None:
                with DaprClient() as client:
                    subscription = client.subscribe("events", "orders")
                    seen.put(-1)
                    for message in subscription:
                        number = message.data()["n"]
                        seen.put(number)
                        if number == 0 and not done:
                            done.append(-1)
                            continue  # it never answers this one, and its stream is ended by the other side
                        done.append(number)
                        subscription.respond_success(message)
                        if number == 1:
                            assert taken.wait(10)  # an answer that close() overtakes is none
                            break
                    subscription.close()

            working = asyncio.ensure_future(site.sdk(work))
            assert await asyncio.to_thread(seen.get, True, 10) == -1
            await publish(site, "orders", 0)
            assert await asyncio.to_thread(seen.get, True, 10) == 0
            site.streams.end("the proxy restarts")
            assert await asyncio.to_thread(seen.get, True, 10) == 0
            await publish(site, "orders", 1)
            (owner,) = site.subscriptions._owners.values()
            await until(lambda: owner.readings()[0].done == 2)
            taken.set()
            await working
            assert done == [-1, 0, 1]
            assert owner.readings()[0].failed == 0

    asyncio.run(scenario())


def test_what_came_before_the_stream_waits_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            site.subscriptions_declared = (streamed(SHOP, "orders"),)
            site.declare()
            await until(lambda: any(owner.running for owner in site.subscriptions._owners.values()))
            await publish(site, "orders", 1, 2, 3)
            async with grpc.aio.insecure_channel(site.own[SHOP]) as channel:
                stream = DaprStub(channel).SubscribeTopicEventsAlpha1()
                await stream.write(initial())
                assert (await stream.read()).HasField("initial_response")
                for number in (1, 2, 3):
                    event = (await stream.read()).event_message
                    assert (event.id, json.loads(event.data), event.path) == (f"orders-{number}", {"n": number}, "/")
                    await stream.write(processed(event.id))
                await stream.done_writing()
                assert await stream.read() is grpc.aio.EOF
                assert await stream.code() is grpc.StatusCode.OK

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("requests", "message", "code"),
    [
        ([processed("x")], "initial request is required", "INVALID_ARGUMENT"),
        ([initial("")], "pubsubName is required", "INVALID_ARGUMENT"),
        ([initial("events", "")], "topic is required", "INVALID_ARGUMENT"),
        ([initial("other")], "pubsub other is not found", "INVALID_ARGUMENT"),
        ([initial("scoped")], "pubsub scoped is not found", "INVALID_ARGUMENT"),
        ([initial("guarded", "secret")], "topic secret is not allowed for app id shop", "PERMISSION_DENIED"),
        ([initial(), initial()], "duplicate initial request received", "INVALID_ARGUMENT"),
    ],
)
def test_streams_are_refused_in_dapr_s_words(tmp_path: Path, requests: list[Any], message: str, code: str) -> None:
    scoped = component("pubsub.in-memory", "scoped", scopes=("another",))
    guarded = component("pubsub.in-memory", "guarded", {"subscriptionScopes": "shop=open", "protectedTopics": "secret"})

    async def scenario() -> None:
        async with controlled(tmp_path, components=(scoped, guarded)) as site:
            buses = (*site._declared_buses, *(of(one) for one in (scoped, guarded)))
            site._declared_buses = buses
            site.declare()
            async with grpc.aio.insecure_channel(site.own[SHOP]) as channel:
                stream = DaprStub(channel).SubscribeTopicEventsAlpha1()
                for request in requests:
                    await stream.write(request)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ended(stream)
                assert refused.value.code().name == code
                assert (refused.value.details() or "").startswith(message)
            await until(lambda: not site.streams.every())

    asyncio.run(scenario())


async def ended(stream: Any) -> None:
    """Read up to the stream's end, and raise with it."""
    while True:
        assert (await stream.read()).HasField("initial_response")


def of(one: Component) -> Any:
    from api.model import Bus

    return Bus(key=one.key, kind="memory")


def test_a_client_that_goes_before_its_first_word_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            async with grpc.aio.insecure_channel(site.own[SHOP]) as channel:
                silent = DaprStub(channel).SubscribeTopicEventsAlpha1()
                await silent.done_writing()
                assert await silent.read() is grpc.aio.EOF
                stream = DaprStub(channel).SubscribeTopicEventsAlpha1()
                await stream.write(initial())
                assert (await stream.read()).HasField("initial_response")
                assert len(site.streams.every()) == 1
            await until(lambda: not site.streams.every())

    asyncio.run(scenario())


def test_a_subscription_that_is_not_opened_in_time_sends_the_app_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "READY", 0.05)

    async def scenario() -> None:
        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            stream = DaprStub(channel).SubscribeTopicEventsAlpha1()
            await stream.write(initial(dead_letter_topic="dead", metadata={"rawPayload": "true"}))
            await until(site.streams.every)
            (reading,) = site.streams.readings(())
            wanted = reading.subscription
            assert (reading.function, wanted.pubsub, wanted.topic, wanted.stream) == (SHOP, "events", "orders", True)
            assert (wanted.dead_letter, wanted.metadata) == ("dead", {"rawPayload": "true"})
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stream.read()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scenario())


def test_streams_end_when_their_component_goes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            stream = DaprStub(channel).SubscribeTopicEventsAlpha1()
            await stream.write(initial())
            assert (await stream.read()).HasField("initial_response")
            site._declared_buses = ()
            site.declare()
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await stream.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            assert ended.value.details() == "pubsub events is not found"

    asyncio.run(scenario())


def test_shutdown_ends_the_streams_of_the_caller_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controlled(tmp_path) as site:
            other = next(key for key in site.own if key != SHOP)
            async with (
                grpc.aio.insecure_channel(site.own[SHOP]) as channel,
                grpc.aio.insecure_channel(site.own[other]) as elsewhere,
            ):
                mine, theirs = (DaprStub(one).SubscribeTopicEventsAlpha1() for one in (channel, elsewhere))
                for stream in (mine, theirs):
                    await stream.write(initial())
                    assert (await stream.read()).HasField("initial_response")

                def work() -> None:
                    with DaprClient() as client:
                        client.shutdown()

                await site.sdk(work)
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await mine.read()
                assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
                await publish(site, "orders", 1)
                assert (await theirs.read()).event_message.id == "orders-1"
                theirs.cancel()

    asyncio.run(scenario())


def test_an_app_has_no_more_streams_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MOST", 2)

    async def scenario() -> None:
        async with controlled(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            streams = [DaprStub(channel).SubscribeTopicEventsAlpha1() for _ in range(2)]
            for stream in streams:
                await stream.write(initial())
                assert (await stream.read()).HasField("initial_response")
            third = DaprStub(channel).SubscribeTopicEventsAlpha1()
            await third.write(initial("events", "another"))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await third.read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(scenario())


def test_a_stream_of_many_topics_tells_each_events_own() -> None:
    payload = json.dumps({"id": "1", "source": "/a", "type": "t", "specversion": "1.0", "topic": "plants/7"}).encode()

    def told(topic: str) -> str:
        message = streaming._message(Place("events", topic, "/"), payload)
        return str(pubsub_pb2.SubscribeTopicEventsResponseAlpha1.FromString(message).event_message.topic)

    assert (told("plants/+"), told("plants")) == ("plants/7", "plants")
