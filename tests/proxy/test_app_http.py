"""Events at an HTTP app: what it is sent, and what each of its answers means."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from api.model import Component, Rule
from eventbus import raw
from eventbus.bus import Incoming
from proxy.app_replies import of_batch
from proxy.outcomes import DONE, MISSING, Outcome
from proxy.owner import Owner
from tests.proxy.apps_plant import AppPlant
from tests.proxy.plant import FAST, SUBJECT, event, subscription, until
from tests.replicas.apps import Answer, HttpServer, Request

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def answering(status: int, body: bytes = b"") -> HttpServer:
    async def handler(_request: Request) -> Answer:
        return status, {}, body

    return HttpServer(handler)


@pytest.mark.parametrize(
    ("status", "body", "want"),
    [
        (200, b"", ("done", 0)),
        (200, b"null", ("done", 0)),
        (200, b"<html>", ("done", 0)),
        (204, b"", ("done", 0)),
        (200, b'{"status":"SUCCESS"}', ("done", 0)),
        (200, b'{"status":""}', ("done", 0)),
        (200, b'{"status":7}', ("done", 0)),
        (200, b'{"status":"RETRY"}', ("max-attempts", 3)),
        (200, b'{"status":"MAYBE"}', ("max-attempts", 3)),
        (200, b'{"status":"DROP"}', ("rejected", 1)),
        (200, b'{"Status":"DROP"}', ("rejected", 1)),
        (200, b'["DROP"]', ("done", 0)),
        (200, b'{"status":"DROP"', ("done", 0)),
        (301, b"", ("max-attempts", 3)),
        (400, b"", ("max-attempts", 3)),
        (500, b"", ("max-attempts", 3)),
        (503, b"", ("max-attempts", 3)),
        (200, b"x" * (1 << 20), ("done", 0)),
        (200, b"x" * (8 << 20), ("done", 0)),
        (500, b"x" * (8 << 20), ("max-attempts", 3)),
    ],
)
def test_answers(status: int, body: bytes, want: tuple[str, int]) -> None:
    async def scenario() -> None:
        async with answering(status, body) as app, AppPlant() as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            assert await plant.outcome() == want

    asyncio.run(scenario())


def test_what_an_app_is_sent() -> None:
    async def scenario() -> None:
        traced = json.dumps(json.loads(event(1)) | {"traceparent": TRACE, "tracestate": "x=1"}).encode()
        async with HttpServer() as app, AppPlant(token="s3cret") as plant:
            await plant.serve(app)
            await plant.publish(traced)
            await plant.drained()

            (request,) = app.requests
            assert (request["method"], request["path"], request["body"]) == ("POST", "/take", traced)
            del request["headers"]["host"], request["headers"]["content-length"]
            assert request["headers"] == {
                "content-type": "application/cloudevents+json",
                "dapr-api-token": "s3cret",
                "evoke-hops": "0",
                "pubsubname": "default",
                "traceparent": TRACE,
                "tracestate": "x=1",
            }

    asyncio.run(scenario())


def test_what_the_broker_said_comes_as_headers() -> None:
    async def scenario() -> None:
        async with HttpServer() as app, AppPlant() as plant:
            await plant.serve(app)
            await until(lambda: plant.owner.running)
            metadata = {"__key": "k", "__offset": "7", "content-type": "text/evil", "Own": "a\nb"}
            plant.owner._deliver([Incoming(share=0, seq=1, key="", payload=event(1), metadata=metadata)])
            await until(lambda: app.requests)

            headers = app.requests[0]["headers"]
            assert (headers["__key"], headers["__offset"], headers["own"]) == ("k", "7", "a b")
            assert headers["content-type"] == "application/cloudevents+json"

    asyncio.run(scenario())


def test_a_name_of_a_functions_own_component_and_a_topic_with_its_namespace() -> None:
    async def scenario() -> None:
        async def bulk(request: Request) -> Answer:
            ids = [entry["entryId"] for entry in json.loads(request["body"])["entries"]]
            statuses = [{"entryId": one, "status": "SUCCESS"} for one in ids]
            return 200, {}, json.dumps({"statuses": statuses}).encode()

        component = Component(
            key=subscription().bus, type="pubsub.in-memory", version="v1", topic_prefix="default.fleet."
        )
        sub = subscription(path="/take", bulk_subscribe=True, bulk=5)
        async with HttpServer(bulk) as app, AppPlant(sub, components=(component,)) as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            await plant.drained()

            assert app.events[0]["topic"] == "telemetry"

    asyncio.run(scenario())


def test_a_missing_route_is_retried_while_the_app_may_still_be_starting() -> None:
    async def scenario() -> None:
        ready = False

        async def late(_request: Request) -> Answer:
            return (200 if ready else 404), {}, b""

        slow = msgspec.structs.replace(FAST, max_attempts=1000)
        async with HttpServer(late) as app, AppPlant(subscription(path="/take", delivery=slow)) as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            await until(lambda: len(app.requests) > 1)
            ready = True
            assert await plant.outcome() == ("done", 0)

            ready = False  # it has its routes by now: 404 is its answer
            await plant.publish(event(2))
            assert await plant.outcome() == ("unroutable", 1)

    asyncio.run(scenario())


def test_an_app_that_hangs_is_tried_again() -> None:
    async def scenario() -> None:
        async def hang(_request: Request) -> Answer:
            await asyncio.sleep(60)
            return None

        quick = msgspec.structs.replace(FAST, timeout=timedelta(milliseconds=50))
        async with HttpServer(hang) as app, AppPlant(subscription(path="/take", delivery=quick)) as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            assert await plant.outcome() == ("max-attempts", 3)
            assert len(app.requests) == 3
            assert (await plant.letters())[0].error == "no answer within 0.05 s"

    asyncio.run(scenario())


def test_an_event_under_which_the_app_dies_is_charged_only_alone() -> None:
    async def scenario() -> None:
        async def poisoned(request: Request) -> Answer:
            return None if json.loads(request["body"])["data"]["n"] == 3 else (200, {}, b"")

        async with HttpServer(poisoned) as app, AppPlant() as plant:
            await plant.serve(app, credit=4)
            await plant.publish(*(event(n) for n in range(1, 9)))
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.event_id, letter.reason, letter.attempts) == ("3", "max-attempts", 3)

    asyncio.run(scenario())


def test_nothing_is_lost_when_the_app_is_killed_again_and_again() -> None:
    async def scenario() -> None:
        seen: set[int] = set()

        async def slow(request: Request) -> Answer:
            await asyncio.sleep(0.002)
            seen.add(json.loads(request["body"])["data"]["n"])
            return 200, {}, b""

        app = HttpServer(slow)
        async with AppPlant() as plant:
            for begin in range(0, 120, 40):
                async with app:
                    await plant.serve(app, credit=8)
                    await plant.publish(*(event(n) for n in range(begin, begin + 40)))
                    await until(lambda least=begin // 2: len(seen) > least)  # type: ignore[misc] # of this round
            async with app:
                await plant.serve(app, credit=8)
                await plant.drained(20)
            assert seen == set(range(120))
            assert not await plant.letters()

    asyncio.run(scenario())


def test_keys_stay_in_order_and_credit_is_never_exceeded() -> None:
    async def scenario() -> None:
        async def shaky(request: Request) -> Answer:
            await asyncio.sleep(0)
            first = request["body"] not in {one["body"] for one in app.requests[:-1]}
            return (500 if first and json.loads(request["body"])["data"]["n"] % 7 == 0 else 200), {}, b""

        async with HttpServer(shaky) as app, AppPlant() as plant:
            await plant.serve(app, credit=4)
            for n in range(60):
                await plant.publish(event(n, key=f"k{n % 5}"), key=f"k{n % 5}")
            await plant.drained(20)

            for key in range(5):
                order = [one["data"]["n"] for one in app.events if one["partitionkey"] == f"k{key}"]
                assert order == sorted(order)
            assert app.most <= 4

    asyncio.run(scenario())


def test_rules_pick_the_path() -> None:
    async def scenario() -> None:
        rules = (Rule(match="event.data.n > 10", path="/large"), Rule(match='event.type == "u"', path="/u"))
        async with HttpServer() as app, AppPlant(subscription(path="/rest", rules=rules)) as plant:
            await plant.serve(app)
            await plant.publish(event(50), event(1), event(2).replace(b'"t"', b'"u"'))
            await plant.drained()

            assert {json.loads(one["body"])["id"]: one["path"] for one in app.requests} == {
                "50": "/large",
                "1": "/rest",
                "2": "/u",
            }

    asyncio.run(scenario())


@pytest.mark.parametrize(("dead_letter", "reasons"), [(None, ["unroutable"]), ("lost", ["unmatched", "unroutable"])])
def test_what_no_rule_takes_wakes_nobody(dead_letter: str | None, reasons: list[str]) -> None:
    async def scenario() -> None:
        rules = (Rule(match="event.data.n > 10", path="/large"),)
        policy = msgspec.structs.replace(FAST, dead_letter=dead_letter)
        sub = subscription(path="/rest", rules=rules, unmatched=True, delivery=policy)
        async with AppPlant(sub) as plant:
            await plant.publish(event(1), event(2).replace(b'"n"', b'"m"'))
            await plant.drained()

            assert sorted(letter.reason for letter in await plant.letters()) == reasons
            assert not plant.owner.wants()

    asyncio.run(scenario())


def entry_status(entry: dict[str, Any]) -> str | None:
    return {1: "SUCCESS", 2: "RETRY", 3: "DROP", 4: "", 5: "MAYBE", 6: None}[entry["event"]["data"]["n"]]


def test_bulk_statuses_count_for_each_entry() -> None:
    async def scenario() -> None:
        async def bulk(request: Request) -> Answer:
            said = [(entry["entryId"], entry_status(entry)) for entry in json.loads(request["body"])["entries"]]
            statuses = [{"entryId": one, "status": status} for one, status in said if status is not None]
            return 200, {}, json.dumps({"statuses": statuses}).encode()

        sub = subscription(path="/many", bulk_subscribe=True, bulk=6, bulk_wait=timedelta(seconds=30))
        async with HttpServer(bulk) as app, AppPlant(sub, token="s3cret") as plant:
            await plant.serve(app)
            await plant.publish(*(event(n) for n in range(1, 6)))
            assert not app.requests, "the batch is not full"
            await plant.publish(event(6))
            await until(lambda: app.requests)
            plant.owner.change(subscription(path="/many", bulk_subscribe=True, bulk=6))
            await plant.drained()

            found = {letter.event_id: (letter.reason, letter.attempts) for letter in await plant.letters()}
            failed = ("max-attempts", 3)
            assert found == {"2": failed, "3": ("rejected", 1), "4": failed, "5": failed, "6": failed}
            first = app.requests[0]
            message = json.loads(first["body"])
            assert len(message["entries"]) == 6
            assert message["entries"][0]["contentType"] == "application/cloudevents+json"
            assert message["type"] == "com.dapr.event.sent.bulk"
            assert (message["pubsubname"], message["topic"]) == ("default", SUBJECT)
            assert message["metadata"] == {"pubsubName": "default"}
            assert first["headers"]["content-type"] == "application/json"
            assert first["headers"]["dapr-api-token"] == "s3cret"

    asyncio.run(scenario())


def test_a_batch_that_is_not_full_goes_when_its_first_event_has_waited() -> None:
    async def scenario() -> None:
        sub = subscription(path="/many", bulk_subscribe=True, bulk=50, bulk_wait=timedelta(milliseconds=30))
        async with answering(200, b'{"statuses":[{"entryId":"1","status":"SUCCESS"}]}') as app, AppPlant(sub) as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            await plant.drained()

            assert len(app.requests) == 1

    asyncio.run(scenario())


def test_a_batch_holds_one_event_of_a_key_and_one_path() -> None:
    async def scenario() -> None:
        async def bulk(request: Request) -> Answer:
            ids = [entry["entryId"] for entry in json.loads(request["body"])["entries"]]
            statuses = [{"entryId": one, "status": "SUCCESS"} for one in ids]
            return 200, {}, json.dumps({"statuses": statuses}).encode()

        rules = (Rule(match="event.data.n >= 4", path="/high"),)
        sub = subscription(path="/low", rules=rules, bulk_subscribe=True, bulk=10)
        async with AppPlant(sub) as plant:
            for n in range(8):
                await plant.publish(event(n, key=f"k{n % 4}"), key=f"k{n % 4}")
            async with HttpServer(bulk) as app:
                await plant.serve(app)
                await plant.drained()

                for request in app.requests:
                    entries = [entry["event"] for entry in json.loads(request["body"])["entries"]]
                    keys = [one["partitionkey"] for one in entries]
                    assert len(keys) == len(set(keys))
                    assert {one["data"]["n"] >= 4 for one in entries} == {request["path"] == "/high"}
                for key in range(4):
                    events = [entry["event"] for one in app.events for entry in one["entries"]]
                    order = [one["data"]["n"] for one in events if one["partitionkey"] == f"k{key}"]
                    assert order == [key, key + 4]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "body", "ids", "want"),
    [
        (200, b'{"statuses":[]}', "12", [MISSING, MISSING]),
        (200, b'{"Statuses":[{"EntryId":"2","Status":"SUCCESS"},7,{"entryId":"9"}]}', "12", [MISSING, DONE]),
        (200, b'{"statuses":{}}', "1", [Outcome("unclear", "the reply to a batch holds no statuses")]),
        (200, b"<html>", "12", [Outcome("unclear", "the reply to a batch holds no statuses")] * 2),
        (500, b"", "12", [Outcome("unclear", "HTTP 500")] * 2),
        (500, b"", "1", [Outcome("failed", "HTTP 500", code=500)]),
        (404, b"", "12", [Outcome("unroutable", "HTTP 404: the function has no handler at this path", code=404)] * 2),
    ],
)
def test_answers_to_a_whole_batch(status: int, body: bytes, ids: str, want: list[Outcome]) -> None:
    assert of_batch(status, {}, body, list(ids), 0.0) == want


def test_raw_bytes_come_in_an_envelope_and_in_bulk_as_they_are() -> None:
    async def scenario(*, bulk: bool) -> Any:
        body = raw.wrap(b"\x00raw", id="m-1", source="/app", type="t", time=datetime(2026, 1, 2, tzinfo=UTC))
        sub = subscription(path="/take", form="raw", bulk_subscribe=bulk)
        async with answering(200, b'{"statuses":[{"entryId":"1","status":"SUCCESS"}]}') as app, AppPlant(sub) as plant:
            await plant.serve(app)
            await plant.publish(body)
            await plant.drained()
            return app.events[0]

    encoded = base64.b64encode(b"\x00raw").decode()
    one, many = asyncio.run(scenario(bulk=False)), asyncio.run(scenario(bulk=True))

    assert (one["id"], one["data_base64"]) == ("m-1", encoded)
    assert many["entries"] == [
        {
            "entryId": "1",
            "event": encoded,
            "contentType": "application/octet-stream",
            "metadata": {"evoke-hops": "0"},
        }
    ]


def test_bindings_bring_their_data_alone() -> None:
    async def scenario() -> None:
        made = {"id": "m-1", "source": "/kafka", "type": "t", "time": datetime(2026, 1, 2, tzinfo=UTC)}
        body = raw.wrap(b"\x00data", **made, metadata={"__key": "k"})  # type: ignore[arg-type] # the names are right
        sub = subscription(path="/ticks", form="binding")
        statuses = iter([500, 404, 201])

        async def handler(_request: Request) -> Answer:
            return next(statuses), {}, b'{"status":"RETRY"}'

        async with HttpServer(handler) as app, AppPlant(sub, token="s3cret") as plant:
            await plant.serve(app)
            await plant.publish(body)
            assert await plant.outcome() == ("done", 0)

            assert [(one["path"], one["body"]) for one in app.requests] == [("/ticks", b"\x00data")] * 3
            headers = app.requests[0]["headers"]
            assert (headers["__key"], headers["dapr-api-token"]) == ("k", "s3cret")
            assert headers["evoke-hops"] == "0"

    asyncio.run(scenario())


def test_an_event_that_expires_while_it_is_held_is_not_delivered() -> None:
    async def scenario() -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
        mortal = json.dumps(json.loads(event(1)) | {"expiration": soon}).encode()
        async with HttpServer() as app, AppPlant() as plant:
            await plant.publish(mortal, event(2))
            await until(lambda: plant.owner.hold and plant.owner.hold.held == 2)
            await until(lambda: datetime.now(UTC).isoformat() > soon)
            await plant.serve(app)
            assert await plant.outcome() == ("expired", 0)
            assert [one["id"] for one in app.events] == ["2"]

    asyncio.run(scenario())


def test_a_token_that_cannot_be_read_fails_the_attempt_with_that_reason() -> None:
    async def scenario() -> None:
        async with HttpServer() as app, AppPlant() as plant:

            def unread(_namespace: str, _option: object) -> str:
                raise LookupError("no such secret")

            object.__setattr__(plant.wiring, "resolve", unread)
            await plant.serve(app)
            await plant.publish(event(1))
            assert await plant.outcome() == ("max-attempts", 3)
            assert "no such secret" in (await plant.letters())[0].error
            assert not app.requests

    asyncio.run(scenario())


def test_a_slow_app_does_not_make_the_window_grow() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def blocked(_request: Request) -> Answer:
            await gate.wait()
            return 200, {}, b""

        async with HttpServer(blocked) as app, AppPlant(subscription(path="/take", in_flight=100)) as plant:
            await plant.serve(app, credit=2)
            await plant.publish(*(event(n) for n in range(500)))
            await until(lambda: app.running == 2)
            assert plant.owner.hold is not None
            assert plant.owner.hold.held <= 100
            assert app.most == 2
            gate.set()
            await plant.drained(20)
            assert len(app.requests) == 500

    asyncio.run(scenario())


def test_our_own_functions_have_rules_raw_bytes_and_bindings_too() -> None:
    async def scenario(payload: bytes, **changes: Any) -> Request:
        async with HttpServer() as app, AppPlant(subscription(path="/rest", **changes)) as plant:
            await plant.serve(app, evoke=True)
            await plant.publish(payload)
            await plant.drained()
            (request,) = [one for one in app.requests if one["method"] == "POST"]
            assert request["headers"]["evoke-trigger"] == "default/on-reading.telemetry"
            assert request["headers"]["evoke-attempt"] == "1"
            return request

    carried = raw.wrap(b"\x00data", id="m-1", source="/a", type="t", time=datetime(2026, 1, 2, tzinfo=UTC))
    routed = asyncio.run(scenario(event(50), rules=(Rule(match="event.data.n > 10", path="/large"),)))
    enveloped = asyncio.run(scenario(carried, form="raw"))
    bound = asyncio.run(scenario(carried, form="binding"))

    assert (routed["path"], routed["body"]) == ("/large", event(50))
    assert json.loads(enveloped["body"])["data_base64"] == base64.b64encode(b"\x00data").decode()
    assert (bound["path"], bound["body"]) == ("/rest", b"\x00data")


def test_a_new_owner_asks_an_app_nothing_and_delivers_at_once() -> None:
    async def scenario() -> None:
        async with HttpServer() as app, AppPlant() as plant:
            await plant.serve(app)
            await plant.publish(event(1))
            await plant.drained()
            await plant.owner.stop()

            plant.owner = Owner(plant.subscription, lambda: plant.bus, plant.wiring, "proxy-1")
            plant.owner.start()
            await until(lambda: plant.owner.hold is not None)
            await plant.publish(event(2))
            await plant.drained()
            assert [(one["method"], one["path"]) for one in app.requests] == [("POST", "/take")] * 2

    asyncio.run(scenario())


def test_an_app_that_answers_nothing_to_a_whole_batch_is_asked_one_by_one() -> None:
    async def scenario() -> None:
        async def poisoned(request: Request) -> Answer:
            entries = json.loads(request["body"])["entries"]
            if any(one["event"]["data"]["n"] == 2 for one in entries):
                return None
            statuses = [{"entryId": one["entryId"], "status": "SUCCESS"} for one in entries]
            return 200, {}, json.dumps({"statuses": statuses}).encode()

        sub = subscription(path="/many", bulk_subscribe=True, bulk=5)
        async with HttpServer(poisoned) as app, AppPlant(sub) as plant:
            await plant.publish(*(event(n) for n in range(5)))
            await plant.serve(app)
            await plant.drained()

            (letter,) = await plant.letters()
            assert (letter.event_id, letter.reason, letter.attempts) == ("2", "max-attempts", 3)

    asyncio.run(scenario())
