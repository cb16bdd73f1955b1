"""What is asked of a running gRPC app, what it is sent, and what is made of its answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from api.model import AppSubscription, Rule
from replicas.apps.client import BindingAnswer, Item, Place
from replicas.apps.connect import Apps, app
from replicas.apps.grpc import Channels, GrpcApp
from replicas.apps.grpc_messages import BadEvent, bulk_entry, metadata_of, topic_event
from replicas.errors import AppFailed, BrokenReply, ConnectFailed, ReplyTimeout
from replicas.http import HttpClient
from tests.replicas.apps import Callbacks, GrpcServer, messages, service

PLACE = Place("orders-bus", "orders", "/take")
EVENT = {"specversion": "1.0", "id": "1", "source": "/test", "type": "t"}


def event(**members: Any) -> bytes:
    return json.dumps(EVENT | members).encode()


def run(work: Callable[[GrpcApp, Callbacks], Awaitable[None]], server: GrpcServer, token: str = "") -> None:
    async def main() -> None:
        channels = Channels()
        async with server:
            await work(GrpcApp(channels, server.address, token), server.callbacks)
        await channels.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("members", "content_type", "data"),
    [
        ({"datacontenttype": "application/json", "data": {"n": 1}}, "application/json", b'{"n": 1}'),
        ({"datacontenttype": "application/json", "data": "text"}, "application/json", b'"text"'),
        ({"datacontenttype": "application/x+json", "data": [1]}, "application/x+json", b"[1]"),
        ({"datacontenttype": "text/plain", "data": "grüß"}, "text/plain", "grüß".encode()),
        ({"datacontenttype": "application/xml", "data": "<a/>"}, "application/xml", b"<a/>"),
        ({"datacontenttype": "image/svg", "data": "<svg/>"}, "image/svg", b"<svg/>"),  # Dapr's runtime sends nothing
        ({"datacontenttype": "text/plain", "data": {"n": 1}}, "text/plain", b'{"n": 1}'),
        ({"data": {"n": 1}}, "", b'{"n": 1}'),
        ({"datacontenttype": "application/octet-stream", "data_base64": "AP8="}, "application/octet-stream", b"\0\xff"),
        ({"datacontenttype": "application/json", "data": None}, "application/json", b""),
        ({}, "", b""),
    ],
)
def test_data_reaches_the_app_whatever_its_type(members: dict[str, Any], content_type: str, data: bytes) -> None:
    request = topic_event(PLACE, event(**members))
    entry = bulk_entry(Item("7", event(**members)))

    assert (request.data_content_type, request.data) == (content_type, data)
    assert (entry.cloud_event.data_content_type, entry.cloud_event.data) == (content_type, data)


def test_attributes_and_extensions() -> None:
    extra = {"subject": "s", "time": "2026-01-02T03:04:05Z", "topic": "other", "traceid": 7, "mine": {"a": [1, None]}}
    request = topic_event(PLACE, event(**extra))

    assert MessageToDict(request, preserving_proto_field_name=True) == {
        "id": "1",
        "source": "/test",
        "type": "t",
        "spec_version": "1.0",
        "topic": "orders",
        "pubsub_name": "orders-bus",
        "path": "/take",
        "extensions": extra,
    }


@pytest.mark.parametrize("payload", [b"[]", b"no json", b"\xff", event(data_base64="?"), event(big=10**400)])
def test_what_cannot_be_told_is_refused(payload: bytes) -> None:
    with pytest.raises(BadEvent):
        topic_event(PLACE, payload)


def test_metadata_of_a_call_is_text_and_not_grpcs_own() -> None:
    told = {"__Key": "k", "pubsubName": "p", "grpc-timeout": "1", "a-bin": "x", "ü": "x", "text": "ü", "te": "x"}

    assert metadata_of(told) == [("__key", "k"), ("pubsubname", "p")]


def test_subscriptions_and_bindings() -> None:
    async def work(client: GrpcApp, callbacks: Callbacks) -> None:
        assert await client.subscriptions() == ()
        rule = messages.TopicRule(match="event.type == 'x'", path="on_x")
        bulk = messages.BulkSubscribeConfig(enabled=True, max_messages_count=5)
        callbacks.listed.subscriptions.extend(
            [
                messages.TopicSubscription(pubsub_name="p", topic="plain"),
                messages.TopicSubscription(
                    pubsub_name="p",
                    topic="routed",
                    metadata={"a": "b"},
                    routes=messages.TopicRoutes(rules=[rule], default="rest"),
                    dead_letter_topic="poison",
                    bulk_subscribe=bulk,
                ),
            ]
        )
        callbacks.bindings.append("ticks")

        assert await client.subscriptions() == (
            AppSubscription(pubsub="p", topic="plain"),
            AppSubscription(
                pubsub="p",
                topic="routed",
                path="rest",
                rules=(Rule(match="event.type == 'x'", path="on_x"),),
                metadata={"a": "b"},
                dead_letter="poison",
                bulk=5,
                bulk_wait=timedelta(seconds=1),
            ),
        )
        assert await client.takes_binding("ticks", "/anywhere")
        assert not await client.takes_binding("other")
        assert await client.healthy("/healthz", 1.0)

    run(work, GrpcServer())


def test_health_without_the_service_is_ill() -> None:
    async def work(client: GrpcApp, _callbacks: Callbacks) -> None:
        assert not await client.healthy("", 1.0)

    run(work, GrpcServer(health=False))


@pytest.mark.parametrize(("status", "want"), [(0, "SUCCESS"), (1, "RETRY"), (2, "DROP"), (9, "9")])
def test_statuses(status: int, want: str) -> None:
    async def work(client: GrpcApp, callbacks: Callbacks) -> None:
        async def answer(_request: Any, _context: Any) -> Any:
            return messages.TopicEventResponse.FromString(b"\x08%c" % status)

        callbacks.topic = answer
        assert await client.topic_event(PLACE, event(), {"pubsubName": "p"}, 5.0) == want
        assert callbacks.metadata[0]["dapr-api-token"] == "s3cret"
        assert callbacks.metadata[0]["pubsubname"] == "p"

    run(work, GrpcServer(), "s3cret")


def test_a_status_of_the_app_is_told_from_a_lost_connection() -> None:
    async def work(client: GrpcApp, callbacks: Callbacks) -> None:
        async def refuse(_request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database is away")

        callbacks.topic = refuse
        with pytest.raises(AppFailed, match="gRPC UNAVAILABLE: the database is away"):
            await client.topic_event(PLACE, event(), {}, 5.0)

    run(work, GrpcServer())


def test_an_app_that_ends_in_the_middle_breaks_the_reply() -> None:
    async def main() -> None:
        server = GrpcServer()
        channels = Channels()
        taken = asyncio.Event()

        async def hang(_request: Any, _context: Any) -> Any:
            taken.set()
            await asyncio.sleep(60)

        server.callbacks.topic = hang
        async with server:
            client = GrpcApp(channels, server.address)
            call = asyncio.create_task(client.topic_event(PLACE, event(), {}, 30.0))
            await taken.wait()
        with pytest.raises(BrokenReply):
            await call
        with pytest.raises(ConnectFailed):
            await client.topic_event(PLACE, event(), {}, 30.0)
        await channels.aclose()

    asyncio.run(main())


def test_time_limits_and_a_replica_that_comes_back() -> None:
    async def main() -> None:
        server = GrpcServer()
        http = HttpClient()
        apps = Apps(http)

        async def hang(_request: Any, _context: Any) -> Any:
            await asyncio.sleep(60)

        server.callbacks.topic = hang
        async with server:
            client = apps.grpc(server.address)
            with pytest.raises(ReplyTimeout):
                await client.topic_event(PLACE, event(), {}, 0.05)
        assert not await client.healthy("", 0.5)
        async with server, asyncio.timeout(10):
            while not await client.healthy("", 0.5):  # noqa: ASYNC110 - the channel has no event for it
                await asyncio.sleep(0.05)
        await apps.aclose()
        await http.aclose()

    asyncio.run(main())


def test_bulk_and_the_older_service_where_the_app_has_only_that() -> None:
    class Alpha(service.AppCallbackAlphaServicer):  # type: ignore[misc] # generated
        async def OnBulkTopicEventAlpha1(self, request: Any, context: Any) -> Any:
            statuses = [
                messages.TopicEventBulkResponseEntry(entry_id=one.entry_id, status=number)
                for number, one in enumerate(request.entries)
            ]
            return messages.TopicEventBulkResponse(statuses=statuses)

    async def work(client: GrpcApp, callbacks: Callbacks) -> None:
        items = [Item("1", event()), Item("2", event(), {"__key": "k"}), Item("3", b"\x00raw", raw=True)]
        told = await client.bulk(PLACE, "b", items, {"pubsubName": "orders-bus"}, 5.0)

        assert told == {"1": "SUCCESS", "2": "RETRY", "3": "DROP"}
        sent = callbacks.requests[0]
        assert (sent.id, sent.type, sent.path) == ("b", "com.dapr.event.sent.bulk", "/take")
        assert [one.WhichOneof("event") for one in sent.entries] == ["cloud_event", "cloud_event", "bytes"]
        assert sent.entries[1].metadata == {"__key": "k"}

    run(work, GrpcServer(alpha=Alpha()))


def test_binding_events_carry_their_metadata_twice() -> None:
    async def work(client: GrpcApp, callbacks: Callbacks) -> None:
        async def answer(_request: Any, _context: Any) -> Any:
            parallel = messages.BindingEventResponse.PARALLEL
            return messages.BindingEventResponse(to=["a", "b"], data=b'{"n":1}', concurrency=parallel)

        callbacks.binding = answer
        answered = await client.binding_event("ticks", b"now", {"readTimeUTC": "x", "grüß": "ü"}, 5.0)

        assert answered == BindingAnswer(("a", "b"), b'{"n":1}', parallel=True)
        assert callbacks.requests[0].metadata == {"readTimeUTC": "x", "grüß": "ü"}
        assert callbacks.metadata[0]["readtimeutc"] == "x"

    run(work, GrpcServer())


def test_channels_are_kept_and_close_when_nobody_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicas.apps.grpc.IDLE", 0.05)

    async def main() -> None:
        channels = Channels()
        async with GrpcServer() as server:
            client = GrpcApp(channels, server.address)
            await asyncio.gather(*(client.healthy("", 1.0) for _ in range(5)))
            assert len(channels) == 1
            async with asyncio.timeout(5):
                while len(channels):  # noqa: ASYNC110 - a timer has no event for it
                    await asyncio.sleep(0.01)
            assert await client.healthy("", 1.0)
            await channels.aclose()

    asyncio.run(main())


def test_one_app_alone_closes_what_it_opened() -> None:
    async def main() -> None:
        http = HttpClient()
        async with GrpcServer() as server:
            client = app("grpc", server.address, http)
            assert await client.healthy("", 1.0)
            await client.aclose()
        await http.aclose()

    asyncio.run(main())


def test_grpc_is_imported_when_it_is_needed() -> None:
    script = "import sys, replicas.apps.connect; assert not {'grpc', 'dapr', 'google.protobuf'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", script], check=True)
