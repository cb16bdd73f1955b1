"""Events at a gRPC app: what it is sent, and what each of its answers means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import msgspec
import pytest

from api.errors import EvokeError
from api.meta import Key
from api.model import Rule
from eventbus import raw
from tests.proxy.apps_plant import AppPlant
from tests.proxy.plant import FAST, SUBJECT, event, subscription, until
from tests.replicas.apps import GrpcServer, messages

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Topic = Callable[[Any, Any], Awaitable[Any]]


def status(number: int) -> Topic:
    async def answer(_request: Any, _context: Any) -> Any:
        return messages.TopicEventResponse.FromString(b"\x08%c" % number)

    return answer


def code(name: str) -> Topic:
    async def answer(_request: Any, context: Any) -> Any:
        await context.abort(getattr(grpc.StatusCode, name), "no")

    return answer


async def fail(_request: Any, _context: Any) -> Any:
    raise RuntimeError("the handler failed")


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (status(0), ("done", 0)),
        (status(1), ("max-attempts", 3)),
        (status(2), ("rejected", 1)),
        (status(9), ("max-attempts", 3)),
        (code("INTERNAL"), ("max-attempts", 3)),
        (code("UNAVAILABLE"), ("max-attempts", 3)),
        (code("INVALID_ARGUMENT"), ("max-attempts", 3)),
        (code("DEADLINE_EXCEEDED"), ("max-attempts", 3)),
        (code("CANCELLED"), ("max-attempts", 3)),
        (code("UNAUTHENTICATED"), ("max-attempts", 3)),
        (fail, ("max-attempts", 3)),
    ],
)
def test_answers(answer: Topic, want: tuple[str, int]) -> None:
    async def scenario() -> None:
        async with GrpcServer() as app, AppPlant() as plant:
            app.callbacks.topic = answer
            await plant.serve(app)
            await plant.publish(event(1))
            assert await plant.outcome() == want

    asyncio.run(scenario())


def test_what_an_app_is_sent() -> None:
    async def scenario() -> None:
        members = {"datacontenttype": "image/svg", "data": "<svg/>", "traceparent": TRACE, "tracestate": "x=1"}
        async with GrpcServer() as app, AppPlant(token="s3cret") as plant:
            await plant.serve(app)
            await plant.publish(json.dumps(json.loads(event(1)) | members).encode())
            await plant.drained()

            (request,), (metadata,) = app.callbacks.requests, app.callbacks.metadata
            assert (request.id, request.path, request.topic, request.pubsub_name) == ("1", "/take", SUBJECT, "default")
            assert request.data == b"<svg/>"
            assert request.extensions["traceparent"] == TRACE
            told = {key: metadata[key] for key in ("dapr-api-token", "pubsubname", "traceparent", "tracestate")}
            assert told == {
                "dapr-api-token": "s3cret",
                "pubsubname": "default",
                "traceparent": TRACE,
                "tracestate": "x=1",
            }

    asyncio.run(scenario())


def test_no_handler_is_retried_while_the_app_may_still_be_starting_and_then_a_dead_letter() -> None:
    async def scenario() -> None:
        slow = msgspec.structs.replace(FAST, max_attempts=1000)
        async with GrpcServer() as app, AppPlant(subscription(delivery=slow)) as plant:
            app.callbacks.topic = code("UNIMPLEMENTED")
            await plant.serve(app)
            await plant.publish(event(1))
            await until(lambda: len(app.callbacks.requests) > 1)
            app.callbacks.topic = status(0)
            assert await plant.outcome() == ("done", 0)

            app.callbacks.topic = code("UNIMPLEMENTED")
            await plant.publish(event(2))
            assert await plant.outcome() == ("unroutable", 1)
            assert "UNIMPLEMENTED" in (await plant.letters())[0].error

    asyncio.run(scenario())


def test_an_app_that_hangs_is_tried_again() -> None:
    async def scenario() -> None:
        async def hang(_request: Any, _context: Any) -> Any:
            await asyncio.sleep(60)

        quick = msgspec.structs.replace(FAST, timeout=timedelta(milliseconds=50))
        async with GrpcServer() as app, AppPlant(subscription(delivery=quick)) as plant:
            app.callbacks.topic = hang
            await plant.serve(app)
            await plant.publish(event(1))
            assert await plant.outcome() == ("max-attempts", 3)
            assert (await plant.letters())[0].error == "no answer within 0.05 s"

    asyncio.run(scenario())


def test_rules_pick_the_path() -> None:
    async def scenario() -> None:
        rules = (Rule(match="event.data.n > 10", path="on_large"),)
        async with GrpcServer() as app, AppPlant(subscription(path="", rules=rules)) as plant:
            await plant.serve(app)
            await plant.publish(event(50), event(1))
            await plant.drained()

            assert {one.id: one.path for one in app.callbacks.requests} == {"50": "on_large", "1": ""}

    asyncio.run(scenario())


def test_keys_stay_in_order_credit_is_never_exceeded_and_nothing_is_lost() -> None:
    async def scenario() -> None:
        order: dict[str, list[int]] = {}
        failed: set[str] = set()

        async def shaky(request: Any, _context: Any) -> Any:
            await asyncio.sleep(0)
            number = json.loads(request.data)["n"]
            if number % 7 == 0 and request.id not in failed:
                failed.add(request.id)
                return messages.TopicEventResponse(status=1)
            order.setdefault(request.extensions["partitionkey"], []).append(number)
            return messages.TopicEventResponse()

        async with GrpcServer() as app, GrpcServer() as other, AppPlant() as plant:
            app.callbacks.topic = other.callbacks.topic = shaky
            await plant.serve(app, other, credit=3)
            for n in range(60):
                await plant.publish(event(n, key=f"k{n % 5}"), key=f"k{n % 5}")
            await plant.drained(20)

            assert order == {f"k{key}": list(range(key, 60, 5)) for key in range(5)}
            assert max(app.callbacks.most, other.callbacks.most) <= 3
            assert app.callbacks.requests
            assert other.callbacks.requests

    asyncio.run(scenario())


def test_events_in_flight_when_the_app_is_killed_come_again() -> None:
    async def scenario() -> None:
        seen: set[int] = set()
        server = GrpcServer()
        gate = asyncio.Event()

        async def hang(_request: Any, _context: Any) -> Any:
            gate.set()
            await asyncio.sleep(60)

        async def take(request: Any, _context: Any) -> Any:
            seen.add(json.loads(request.data)["n"])
            return messages.TopicEventResponse()

        async with AppPlant() as plant:
            server.callbacks.topic = hang
            async with server:
                await plant.serve(server, credit=4)
                await plant.publish(*(event(n) for n in range(10)))
                await gate.wait()
            server.callbacks.topic = take
            async with server:  # at the same port
                await plant.serve(server, credit=4)
                await plant.drained(20)
            assert seen == set(range(10))
            assert not await plant.letters()

    asyncio.run(scenario())


def test_bulk_statuses_count_for_each_entry() -> None:
    async def scenario() -> None:
        async def bulk(request: Any, _context: Any) -> Any:
            statuses = [
                messages.TopicEventBulkResponseEntry(entry_id=one.entry_id, status=int(one.cloud_event.id))
                for one in request.entries
                if one.cloud_event.id != "3"
            ]
            return messages.TopicEventBulkResponse(statuses=statuses)

        sub = subscription(path="/many", bulk_subscribe=True, bulk=4, bulk_wait=timedelta(milliseconds=20))
        async with GrpcServer() as app, AppPlant(sub) as plant:
            app.callbacks.bulk = bulk
            await plant.publish(*(event(n) for n in range(4)))
            await plant.serve(app)
            await plant.drained()

            found = {letter.event_id: (letter.reason, letter.attempts) for letter in await plant.letters()}
            assert found == {"1": ("max-attempts", 3), "2": ("rejected", 1), "3": ("max-attempts", 3)}
            first = app.callbacks.requests[0]
            assert [one.cloud_event.id for one in first.entries] == ["0", "1", "2", "3"]
            assert (first.topic, first.pubsub_name, first.path) == (SUBJECT, "default", "/many")

    asyncio.run(scenario())


def test_a_batch_that_fails_as_a_whole_goes_again_one_by_one() -> None:
    async def scenario() -> None:
        async def bulk(request: Any, context: Any) -> Any:
            if any(one.cloud_event.id == "2" for one in request.entries):
                await context.abort(grpc.StatusCode.INTERNAL, "poison")
            statuses = [messages.TopicEventBulkResponseEntry(entry_id=one.entry_id) for one in request.entries]
            return messages.TopicEventBulkResponse(statuses=statuses)

        sub = subscription(bulk_subscribe=True, bulk=5)
        async with GrpcServer() as app, AppPlant(sub) as plant:
            app.callbacks.bulk = bulk
            await plant.publish(*(event(n) for n in range(5)))
            await plant.serve(app)
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.event_id, letter.reason, letter.attempts) == ("2", "max-attempts", 3)

    asyncio.run(scenario())


def test_raw_bytes_in_bulk_come_as_bytes() -> None:
    async def scenario() -> None:
        body = raw.wrap(b"\x00raw", id="m-1", source="/app", type="t", time=datetime(2026, 1, 2, tzinfo=UTC))

        async def bulk(request: Any, _context: Any) -> Any:
            statuses = [messages.TopicEventBulkResponseEntry(entry_id=one.entry_id) for one in request.entries]
            return messages.TopicEventBulkResponse(statuses=statuses)

        async with GrpcServer() as app, AppPlant(subscription(form="raw", bulk_subscribe=True)) as plant:
            app.callbacks.bulk = bulk
            await plant.serve(app)
            await plant.publish(body)
            await plant.drained()
            (entry,) = app.callbacks.requests[0].entries
            assert (entry.bytes, entry.content_type) == (b"\x00raw", "application/octet-stream")

    asyncio.run(scenario())


def binding(body: bytes = b"now", **metadata: str) -> bytes:
    made = {"id": "m-1", "source": "/cron", "type": "t", "time": datetime(2026, 1, 2, tzinfo=UTC)}
    return raw.wrap(body, **made, metadata=metadata)  # type: ignore[arg-type] # the names are right


@pytest.mark.parametrize("parallel", [True, False])
def test_what_an_app_says_to_a_binding_goes_on_before_the_event_is_done(*, parallel: bool) -> None:
    async def scenario() -> None:
        given: list[tuple[Key, str, bytes]] = []
        broken = [True]

        async def bind(function: Key, name: str, data: bytes) -> None:
            if name == "second" and broken.pop():
                broken.append(False)
                raise EvokeError("the queue is away")
            given.append((function, name, data))

        async def answer(_request: Any, _context: Any) -> Any:
            concurrency = messages.BindingEventResponse.PARALLEL if parallel else 0
            return messages.BindingEventResponse(to=["first", "second"], data=b'{"n":1}', concurrency=concurrency)

        name = "default.on-reading.ticks"
        sub = subscription(subject=f"evoke.binding.{name}", form="binding")
        async with GrpcServer() as app, AppPlant(sub) as plant:
            object.__setattr__(plant.wiring, "bind", bind)
            app.callbacks.binding = answer
            await plant.serve(app)
            await plant.bus.publish(sub.subject, binding(readTimeUTC="x"))
            await plant.drained()

            function = Key("default", "on-reading")
            assert given.count((function, "second", b'{"n":1}')) == 1
            assert given.count((function, "first", b'{"n":1}')) == 2  # at least once: the event was tried again
            request = app.callbacks.requests[0]
            assert (request.name, request.data, dict(request.metadata)) == (
                "ticks",
                b"now",
                {"readTimeUTC": "x", "evoke-hops": "0"},
            )
            assert app.callbacks.metadata[0]["readtimeutc"] == "x"

    asyncio.run(scenario())


def test_a_binding_that_the_app_does_not_implement_is_tried_by_the_policy() -> None:
    async def scenario() -> None:
        sub = subscription(form="binding")
        async with GrpcServer() as app, AppPlant(sub) as plant:
            await plant.serve(app)
            await plant.publish(binding())
            assert await plant.outcome() == ("max-attempts", 3)

    asyncio.run(scenario())


def test_an_event_that_cannot_be_told_over_grpc_is_a_dead_letter() -> None:
    async def scenario() -> None:
        async with GrpcServer() as app, AppPlant() as plant:
            await plant.serve(app)
            await plant.publish(json.dumps(json.loads(event(1)) | {"data_base64": "?"}).encode())
            assert await plant.outcome() == ("malformed", 0)
            assert not app.callbacks.requests

    asyncio.run(scenario())
