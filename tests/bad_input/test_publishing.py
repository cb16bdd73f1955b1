"""Rows of bad events on a running proxy: the operations API and the Dapr API refuse them, and go on."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.meta import Key
from tests.bad_input.corpus import BODIES, EVERY, STRUCTURED, Row, event
from tests.brokers import Nats, start_nats
from tests.proxy.plant import until
from tests.proxy.test_main import Controller, controller

pytestmark = pytest.mark.broker

HANG = 2.0
"""Seconds; against hangs only."""
Scenario = Callable[[Controller], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


def play(nats: Nats, namespace: str, scenario: Scenario) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory(prefix="evk") as directory:
            async with controller(Path(directory), nats, namespace) as made:
                made.declare()
                await until(lambda: made.agent and any(bus.connected for bus in made.agent.buses.readings()))
                await scenario(made)

    asyncio.run(whole())


async def sent(made: Controller, api: str, path: str, row: Row, **more: str) -> tuple[int, Any]:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in row.headers]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    begun = time.monotonic()
    reply = await made.client.request(f"unix:{made.directory / api}", "POST", path, headers, row.body, timeout=10)
    text = (await reply.read(1 << 20)).decode()
    assert time.monotonic() - begun < HANG
    return reply.status, json.loads(text or "null")


def test_the_operations_api(nats: Nats) -> None:
    async def scenario(made: Controller) -> None:
        path = made.operation("buses/default/publish?subject=x")
        for name, row in EVERY.items():
            status, answer = await sent(made, "o", path, row)
            assert status == row.status, (name, answer)
            if row.says:
                error = answer["error"]
                assert error["code"] == ("E142" if status == 403 else "E141"), name
                assert row.says in error["message"], name
                assert "\n" not in error["message"], name
        assert await made.call("o", "POST", path, event()) == (200, {"published": 1})

    play(nats, "bad-operations", scenario)


@pytest.mark.parametrize(
    ("subject", "status"),
    [("a%20b", 422), ("%3E", 422), ("a.*.b", 422), ("", 422), ("x" * 250, 422), ("$JS.API.%3E", 403),
     ("evoke.async.default.f", 403)],
    ids=["space", "all", "wildcard", "empty", "long", "JetStream's", "ours"],
)  # fmt: skip
def test_subjects(nats: Nats, subject: str, status: int) -> None:
    async def scenario(made: Controller) -> None:
        got, answer = await made.call("o", "POST", made.operation(f"buses/default/publish?subject={subject}"), event())
        assert got == status
        code = answer["problems"][0]["code"] if status == 422 else answer["error"]["code"]
        assert code == ("E122" if status == 422 else "E142")

    play(nats, f"bad-subject-{status}", scenario)


FILLED = {"46 no source"}
"""Dapr gives an event what it lacks."""


def test_the_dapr_api(nats: Nats) -> None:
    """A structured event is held to every rule; anything else is data."""

    async def scenario(made: Controller) -> None:
        token = made.platform.token(Key(made.namespace, "f"))
        path = "/v1.0/publish/default/x"
        for name, row in BODIES.items():
            status, answer = await sent(made, "d", path, row, dapr_api_token=token)
            if name in FILLED:
                assert status == 204
                continue
            assert (status, answer["errorCode"]) == (400, "ERR_PUBSUB_CLOUD_EVENTS_SER"), name
            assert row.says is not None
            assert row.says in answer["message"], name
        for body in (b"[" * 100_000, b"NaN", b"1e999", b"\xff", b"{broken"):
            broken = Row([("content-type", "application/json")], body, 204, None)
            assert (await sent(made, "d", path, broken, dapr_api_token=token))[0] == 204, body[:9]
        for query in ("ttlInSeconds=-1", "ttlInSeconds=abc", f"ttlInSeconds={10**20}", "rawPayload=maybe"):
            status, answer = await sent(made, "d", f"{path}?metadata.{query}", broken, dapr_api_token=token)
            assert (status, answer["errorCode"]) == (400, "ERR_PUBSUB_REQUEST_METADATA"), query
        good = Row([("content-type", STRUCTURED)], json.dumps(event(type="io.evoke.cron.tick")).encode(), 204, None)
        assert (await sent(made, "d", path, good, dapr_api_token=token))[0] == 204

    play(nats, "bad-dapr", scenario)


@pytest.mark.parametrize(
    ("entries", "status", "says"),
    [
        (b"[" * 100_000, 400, "ERR_PUBSUB_EVENTS_SER"),
        (b'[{"entryId":"1"}]', 400, "has no event"),
        (b'[{"entryId":"1","event":1},{"entryId":"1","event":2}]', 400, "duplicated"),
        (b'[{"entryId":"1","event":"\\ud800"}]', 400, "ERR_PUBSUB_EVENTS_SER"),
        (
            b'[{"entryId":"1","event":{"id":1},"contentType":"application/cloudevents+json"},{"entryId":"2","event":2}]',
            500,
            "id must be a string",
        ),
    ],
    ids=["deep", "no event", "twice", "surrogate", "one of two"],
)
def test_bulk_publishes_of_dapr(nats: Nats, entries: bytes, status: int, says: str) -> None:
    async def scenario(made: Controller) -> None:
        token = made.platform.token(Key(made.namespace, "f"))
        row = Row([("content-type", "application/json")], entries, status, says)
        got, answer = await sent(made, "d", "/v1.0/publish/bulk/default/x", row, dapr_api_token=token)
        assert (got, says in json.dumps(answer)) == (status, True), answer
        if status == 500:
            assert [failed["entryId"] for failed in answer["failedEntries"]] == ["1"]

    play(nats, f"bad-bulk-{status}", scenario)
