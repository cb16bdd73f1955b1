"""What is asked of a running HTTP app, and what is made of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from api.model import AppSubscription, Rule
from replicas.apps.client import AppConfig, BadDeclaration
from replicas.apps.connect import app
from replicas.apps.declarations import MOST, of_json
from replicas.apps.http import HttpApp, headers_of, path_of
from replicas.errors import BrokenReply, ConnectFailed, ReplyTimeout, ReplyTooLarge
from replicas.http import HttpClient
from tests.replicas.apps import Answer, HttpServer, Request


def run(work: Callable[[HttpApp, HttpServer], Awaitable[None]], server: HttpServer, token: str = "") -> None:
    async def main() -> None:
        http = HttpClient()
        async with server:
            await work(HttpApp(http, server.address, token), server)
        await http.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ([], ()),
        (None, ()),
        (
            [{"pubsubname": "p", "topic": "t", "route": "orders"}],
            (AppSubscription(pubsub="p", topic="t", path="orders"),),
        ),
        (
            [{"pubsubname": "p", "topic": "t", "routes": {"default": "/all"}, "route": "/ignored"}],
            (AppSubscription(pubsub="p", topic="t", path="/all"),),
        ),
        (
            [
                {
                    "pubsubname": "p",
                    "topic": "t",
                    "deadLetterTopic": "poison",
                    "metadata": {"rawPayload": "true"},
                    "routes": {"rules": [{"match": " event.type == 'x' ", "path": "/x"}]},
                    "bulkSubscribe": {"enabled": True, "maxMessagesCount": 5, "maxAwaitDurationMs": 40},
                }
            ],
            (
                AppSubscription(
                    pubsub="p",
                    topic="t",
                    rules=(Rule(match="event.type == 'x'", path="/x"),),
                    metadata={"rawPayload": "true"},
                    dead_letter="poison",
                    bulk=5,
                    bulk_wait=timedelta(milliseconds=40),
                ),
            ),
        ),
        (
            [{"pubsubname": "p", "topic": "t", "route": "r", "bulkSubscribe": {"enabled": True}}],
            (AppSubscription(pubsub="p", topic="t", path="r", bulk=100, bulk_wait=timedelta(seconds=1)),),
        ),
        (
            [
                {
                    "pubsubName": "p",
                    "Topic": "t",
                    "Routes": {"Default": "/all"},
                    "DeadLetterTopic": "x",
                    "metadata": {"rawPayload": "true"},
                    "bulkSubscribe": None,
                }
            ],
            (AppSubscription(pubsub="p", topic="t", path="/all", dead_letter="x", metadata={"rawPayload": "true"}),),
        ),
        ([{"pubsubname": "p", "topic": "no-route"}], ()),
        ([{"pubsubname": "p", "topic": "no-route", "routes": {"rules": []}}], ()),
    ],
)
def test_subscriptions(said: Any, want: tuple[AppSubscription, ...]) -> None:
    assert of_json(json.dumps(said).encode()) == want


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"<html>", "it begins with '<html>'"),
        (b'{"pubsubname":"p"}', "no list of subscriptions"),
        (b'[{"topic":"t","route":"r"}]', "pubsubname"),
        (b'[{"pubsubname":"","topic":"t","route":"r"}]', "needs both names"),
        (b"[" + b",".join([b'{"pubsubname":"p","topic":"t","route":"r"}'] * (MOST + 1)) + b"]", "at most 1000"),
        (b"[" * 100_000, "no list of subscriptions"),
        (b"\xff\xfe", "no list of subscriptions"),
    ],
)
def test_bad_subscriptions(body: bytes, named: str) -> None:
    with pytest.raises(BadDeclaration, match="E150") as raised:
        of_json(body)

    assert named in str(raised.value)


def test_an_app_that_answers_nothing_has_no_subscriptions() -> None:
    async def work(client: HttpApp, server: HttpServer) -> None:
        for status in (200, 302, 401, 404, 405):
            server.fixed["GET /dapr/subscribe"] = (status, {}, b"")
            assert await client.subscriptions() == ()
        server.fixed["GET /dapr/subscribe"] = (500, {}, b"")
        with pytest.raises(BadDeclaration, match="HTTP 500"):
            await client.subscriptions()

    run(work, HttpServer())


def test_questions_carry_the_token() -> None:
    async def work(client: HttpApp, server: HttpServer) -> None:
        server.fixed["GET /dapr/config"] = (200, {}, b'{"entities":["Cart"]}')
        assert await client.config() == AppConfig(("Cart",))
        await client.subscriptions()
        await client.takes_binding("ticks")
        await client.healthy("healthz", 1.0)

        paths = [f"{one['method']} {one['path']}" for one in server.requests]
        assert paths == ["GET /dapr/config", "GET /dapr/subscribe", "OPTIONS /ticks", "GET /healthz"]
        assert {one["headers"]["dapr-api-token"] for one in server.requests} == {"s3cret"}

    run(work, HttpServer(), "s3cret")


@pytest.mark.parametrize(("status", "takes"), [(200, True), (204, True), (405, True), (404, False), (500, False)])
def test_a_binding_is_taken_at_any_2xx_and_405(status: int, takes: bool) -> None:
    async def work(client: HttpApp, server: HttpServer) -> None:
        server.fixed["OPTIONS /other/place"] = (status, {}, b"")
        assert await client.takes_binding("ticks", "other/place") is takes

    run(work, HttpServer())


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (299, True), (301, False), (404, False), (503, False)])
def test_health_is_a_2xx(status: int, healthy: bool) -> None:
    async def work(client: HttpApp, server: HttpServer) -> None:
        server.fixed["GET /healthz"] = (status, {}, b"")
        assert await client.healthy("/healthz", 1.0) is healthy

    run(work, HttpServer())


def test_what_hangs_or_is_gone_is_not_healthy() -> None:
    async def hang(_request: Request) -> Answer:
        await asyncio.sleep(60)
        return None

    async def main() -> None:
        http = HttpClient()
        async with HttpServer(hang) as server:
            client = app("http", server.address, http)
            assert not await client.healthy("/healthz", 0.05)
            with pytest.raises(ReplyTimeout):
                await client.subscriptions(0.05)
        assert not await client.healthy("/healthz", 0.5)
        with pytest.raises(ConnectFailed):
            await client.config()
        await http.aclose()

    asyncio.run(main())


def test_a_long_answer_is_cut_off() -> None:
    async def much(_request: Request) -> Answer:
        return 201, {}, b"x" * (64 << 20)

    async def work(client: HttpApp, _server: HttpServer) -> None:
        reply = await client.post(b"/", [], b"{}", 5.0)
        assert (reply.status, reply.body) == (201, b"")
        with pytest.raises(ReplyTooLarge):
            await client.config()

    run(work, HttpServer(much))


def test_a_connection_that_ends_is_a_broken_reply() -> None:
    async def leave(_request: Request) -> Answer:
        return None

    async def work(client: HttpApp, _server: HttpServer) -> None:
        with pytest.raises(BrokenReply):
            await client.post(b"/", [], b"{}", 5.0)

    run(work, HttpServer(leave))


@pytest.mark.parametrize(
    ("path", "target"),
    [("orders", b"/orders"), ("/a b/ü", b"/a%20b/%C3%BC"), ("/q?x=1&y=2", b"/q?x=1&y=2"), ("", b"/")],
)
def test_paths(path: str, target: bytes) -> None:
    assert path_of(path) == target


def test_metadata_becomes_headers_but_for_those_that_are_not_its_own() -> None:
    metadata = {
        "__key": "k1",
        "X-Mine": "a\r\nevil: 1",
        "Content-Length": "9",
        "dapr-api-token": "stolen",
        "bad name": "x",
        "Umlaut": "ü",
    }

    assert headers_of(metadata) == [
        (b"__key", b"k1"),
        (b"x-mine", b"a  evil: 1"),
        (b"umlaut", "ü".encode()),
    ]
