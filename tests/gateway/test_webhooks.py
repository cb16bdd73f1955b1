"""Deliveries to webhooks, from the socket to the bus."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.meta import Key, SecretKeyRef
from api.model import Option, Route
from gateway.limits import Limits
from tests.gateway.hooks import PATH, hook, reading, serve, stored
from tests.gateway.world import json_error, run, world

EVENT = '{"specversion":"1.0","id":"7","source":"/s","type":"t"}'
SPECIFIED = {"content-type": "application/cloudevents+json"}
BATCHED = {"content-type": "application/cloudevents-batch+json"}


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
        ({"content-encoding": "gzip"}, b"x", 415, "E141"),
        ({}, b"x" * 2000, 413, "E145"),
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
