"""Service invocation over HTTP: names, headers, bodies, waking, limits, failures."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.delivery import Backoff
from api.frames import Notice, Want
from api.meta import Key
from api.model import App, CircuitBreaker, Resilience, Retry
from tests.proxy.dapr_http.site import APPS, PLATFORM, SHOP, STORE, AppServer, Seen, Site, revision, until

AT_ONCE = Backoff(initial=timedelta(0), factor=1.0, cap=timedelta(0), jitter=0.0)


def play(directory: Path, scenario: Callable[[Site], Awaitable[None]], **given: Any) -> None:
    async def whole() -> None:
        async with Site(directory, **given) as site:
            await scenario(site)

    asyncio.run(whole())


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_verb_with_its_query_and_body(tmp_path: Path, verb: str) -> None:
    async def scenario(site: Site) -> None:
        store = await site.app(STORE)
        answer = await site.call(verb, "/v1.0/invoke/store/method/a/b%20c?x=1&y=%2F", b"body" if verb != "GET" else b"")
        (seen,) = store.seen
        assert (seen.method, seen.target) == (verb, "/a/b%20c?x=1&y=%2F")
        assert (answer.status, answer.body) == (200, seen.body)
        assert answer.headers["content-type"] == "text/x-answer"

    play(tmp_path, scenario)


def test_head_has_no_body(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.app(STORE)
        answer = await site.call("HEAD", "/v1.0/invoke/store/method/m")
        assert (answer.status, answer.body) == (200, b"")
        assert (await site.call("HEAD", "/v1.0/invoke/store/method/m")).status == 200

    play(tmp_path, scenario)


def test_three_ways_to_name_the_app(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        store = await site.app(STORE)
        basic = b64encode(b"dapr-app-id:store").decode()
        assert (await site.call("POST", "/orders/1?x=1", b"a", [("dapr-app-id", "store")])).body == b"a"
        assert (await site.call("POST", "/orders/2", b"b", [("authorization", f"Basic {basic}")])).body == b"b"
        assert (await site.call("POST", "/v1.0/invoke/store.default/method/orders/3", b"c")).body == b"c"
        assert [seen.target for seen in store.seen] == ["/orders/1?x=1", "/orders/2", "/orders/3"]
        assert "authorization" not in store.seen[1].headers

    play(tmp_path, scenario)


def test_headers_that_pass_and_headers_that_are_ours(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        store = await site.app(STORE)
        store.reply_headers += [(b"x-back", b"1"), (b"evoke-epoch", b"9"), (b"connection", b"x-hop"), (b"x-hop", b"2")]
        sent = [
            ("x-own", "1"), ("authorization", "Bearer t"), ("evoke-epoch", "7"), ("x-forwarded-for", "9.9.9.9"),
            ("dapr-caller-app-id", "root"), ("traceparent", "00-1"), ("content_length", "5"), ("te", "trailers"),
        ]  # fmt: skip
        answer = await site.call("POST", "/v1.0/invoke/store/method/m", b"x", sent)
        (seen,) = store.seen
        assert (seen.headers["x-own"], seen.headers["authorization"]) == ("1", "Bearer t")
        assert (seen.headers["dapr-caller-app-id"], seen.headers["dapr-api-token"]) == ("shop", "s3cret")
        assert not {"evoke-epoch", "x-forwarded-for", "content_length", "te"} & set(seen.headers)
        assert answer.headers["x-back"] == "1"
        assert not {"evoke-epoch", "x-hop"} & set(answer.headers)

    play(tmp_path, scenario)


def test_long_bodies_go_through_as_they_come(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        store = await site.app(STORE)

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"x" * 100_000

        token = [(b"dapr-api-token", PLATFORM.token(SHOP).encode())]
        reply = await site.client.request(
            site.address, "POST", "/v1.0/invoke/store/method/m", token, chunks(), timeout=10
        )
        assert (reply.status, len(await reply.read(4 << 20))) == (200, 3_000_000)
        body = b"y" * 3_000_000
        assert (await site.call("POST", "/v1.0/invoke/store/method/m", body)).body == body
        assert len(store.seen) == 2

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(60):
                yield b"x" * 100_000

        path = "/v1.0/invoke/store/method/m"
        reply = await site.client.request(site.address, "POST", path, token, endless(), timeout=10)
        assert (reply.status, len(store.seen)) == (413, 2)
        await reply.close()
        too_long = await site.call("POST", "/v1.0/invoke/store/method/m", b"z" * (5 << 20))
        assert too_long.code == (413, "ERR_BODY_TOO_LARGE")

    play(tmp_path, scenario)


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 404, 418, 500, 503])
def test_the_answer_is_the_apps_own(tmp_path: Path, status: int) -> None:
    async def scenario(site: Site) -> None:
        async def answer(_seen: Seen) -> tuple[int, bytes]:
            return status, b"" if status in {204, 304} else b"told"

        await site.app(STORE, answer)
        found = await site.call("GET", "/v1.0/invoke/store/method/m")
        assert (found.status, found.body) == (status, b"" if status in {204, 304} else b"told")

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.0/invoke/none/method/m", 500),
        ("/v1.0/invoke/store.other/method/m", 403),
        ("/v1.0/invoke/none.other/method/m", 403),
        ("/v1.0/invoke/..%2fstore/method/m", 400),
        ("/v1.0/invoke/store", 404),
        ("/v1.0/invoke/store/method", 404),
        ("/v1.0/invoke/store/m", 404),
        (f"/v1.0/invoke/store/method/{'m' * 4096}", 400),
    ],
)
def test_apps_that_cannot_be_called(tmp_path: Path, path: str, status: int) -> None:
    async def scenario(site: Site) -> None:
        store = await site.app(STORE)
        assert (await site.call("GET", path)).code == (status, "ERR_DIRECT_INVOKE")
        assert not store.seen

    play(tmp_path, scenario)


def test_a_call_wakes_a_function_that_sleeps(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        calling = asyncio.create_task(site.call("POST", "/v1.0/invoke/store/method/m", b"x"))
        await until(lambda: any(isinstance(frame, Want) for frame in site.frames))
        (want,) = [frame for frame in site.frames if isinstance(frame, Want)]
        assert want.revision == revision(STORE)
        assert site.runtime.calls.waiting_for(revision(STORE)) == 1
        assert [one.revision for one in site.runtime.calls.wants()] == [revision(STORE)]
        await site.app(STORE)
        assert (await calling).status == 200
        (notice,) = [frame for frame in site.frames if isinstance(frame, Notice)]
        assert (notice.function, notice.kind) == ("store", "activation")
        assert not site.runtime.calls.wants()
        (reading,) = site.runtime.calls.readings()
        assert (reading.arrived, reading.done, reading.failed, reading.in_flight, reading.waiting) == (1, 1, 0, 0, 0)

    play(tmp_path, scenario)


def test_a_caller_that_leaves_waits_no_more(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        calling = asyncio.create_task(site.call("GET", "/v1.0/invoke/store/method/m"))
        await until(lambda: site.runtime.calls.waiting_for(revision(STORE)))
        calling.cancel()
        await until(lambda: not site.runtime.calls.waiting_for(revision(STORE)))

    play(tmp_path, scenario)


def test_a_caller_that_leaves_an_endless_answer_ends_it(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        ended = asyncio.Event()

        async def endless(_scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await receive()
            await send({"type": "http.response.body", "body": b"data: 1", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.set()

        server = await AppServer(app=endless).start()
        site._servers.append(server)
        site.replicas(STORE, server)
        token = [(b"dapr-api-token", PLATFORM.token(SHOP).encode())]
        path = "/v1.0/invoke/store/method/m"
        reply = await site.client.request(site.address, "GET", path, token, timeout=10)
        assert await reply.body.chunk() == b"data: 1"
        assert site.runtime.calls.readings()[0].in_flight == 1
        await reply.close()
        async with asyncio.timeout(5):
            await ended.wait()
        await until(lambda: not site.runtime.calls.readings()[0].in_flight)

    play(tmp_path, scenario)


def test_a_replica_that_has_gone_is_passed_over(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        gone, here = await AppServer().start(), await AppServer().start()
        site._servers += [gone, here]
        await gone.stop()
        site.replicas(STORE, gone, here)
        for _ in range(4):
            assert (await site.call("POST", "/v1.0/invoke/store/method/m", b"x")).status == 200
        assert len(here.seen) == 4
        (reading,) = site.runtime.calls.readings()
        assert (reading.arrived, reading.done) == (4, 4)

    play(tmp_path, scenario)


def test_a_streamed_body_goes_to_another_replica_while_it_is_whole(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        gone, here = await AppServer().start(), await AppServer().start()
        site._servers += [gone, here]
        await gone.stop()
        site.replicas(STORE, gone, here)
        body = b"y" * 200_000
        for _ in range(4):
            assert (await site.call("POST", "/v1.0/invoke/store/method/m", body)).body == body

    play(tmp_path, scenario)


def test_credit_is_respected_and_the_queue_is_bounded(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        site.declare(routes=tuple(msgspec.structs.replace(one, queue=2) for one in site.fields["routes"]))
        release, running, most = asyncio.Event(), 0, 0

        async def slow(_seen: Seen) -> tuple[int, bytes]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return 200, b""

        server = await AppServer(slow).start()
        site._servers.append(server)
        site.replicas(STORE, server, credit=2)
        calls = [asyncio.create_task(site.call("GET", "/v1.0/invoke/store/method/m")) for _ in range(4)]
        await until(lambda: running == 2 and site.runtime.calls.waiting_for(revision(STORE)) == 2)
        answer = await site.call("GET", "/v1.0/invoke/store/method/m")
        assert answer.code == (429, "ERR_TOO_MANY_REQUESTS")
        release.set()
        assert [one.status for one in await asyncio.gather(*calls)] == [200] * 4
        assert most == 2

    play(tmp_path, scenario)


def test_no_replica_in_time_and_no_answer_in_time(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        site.runtime.calls._hold = 0.01
        answer = await site.call("GET", "/v1.0/invoke/store/method/m")
        assert answer.code == (504, "ERR_DIRECT_INVOKE")

        async def hang(_seen: Seen) -> tuple[int, bytes]:
            await asyncio.sleep(60)
            return 200, b""

        short = tuple(msgspec.structs.replace(one, timeout=timedelta(milliseconds=20)) for one in site.fields["routes"])
        site.declare(routes=short)
        server = await site.app(STORE, hang)
        assert (await site.call("GET", "/v1.0/invoke/store/method/m")).code == (504, "ERR_DIRECT_INVOKE")
        await server.stop()

    play(tmp_path, scenario)


def test_retries_and_breaker_of_an_app(tmp_path: Path) -> None:
    resilience = Resilience(
        target="app:store",
        retry=Retry(backoff=AT_ONCE, max_retries=2, statuses="500-599"),
        breaker=CircuitBreaker(trip="consecutiveFailures >= 6"),
    )
    shop = App(key=SHOP, id="shop", protocol="http", resilience=(resilience,))

    async def scenario(site: Site) -> None:
        statuses = iter([500, 503, 200, 404, 500, 500, 500])

        async def answer(_seen: Seen) -> tuple[int, bytes]:
            return next(statuses), b"told"

        store = await site.app(STORE, answer)
        assert (await site.call("POST", "/v1.0/invoke/store/method/m", b"x")).status == 200
        assert [seen.body for seen in store.seen] == [b"x"] * 3
        assert (await site.call("GET", "/v1.0/invoke/store/method/m")).status == 404
        found = await site.call("GET", "/v1.0/invoke/store/method/m")
        assert (found.status, found.body, len(store.seen)) == (500, b"told", 7)

    play(tmp_path, scenario, apps=(shop, APPS[1]))


def test_one_function_called_by_another_of_its_namespace_only(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.app(STORE)
        stranger = PLATFORM.token(Key("other", "shop"))
        answer = await site.call("GET", "/v1.0/invoke/store/method/m", token=stranger)
        assert answer.code == (500, "ERR_DIRECT_INVOKE")
        answer = await site.call("GET", "/v1.0/invoke/store.default/method/m", token=stranger)
        assert answer.code == (403, "ERR_DIRECT_INVOKE")

    play(tmp_path, scenario)
