"""Publish and bulk publish over HTTP: envelope, codes, scopes, limits."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.model import ApiRule, App, Bus
from tests.proxy.dapr_http.site import APPS, PLATFORM, SHOP, STORE, Site, component, until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BAD_METADATA = ("ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION")
JSON = ("content-type", "application/json")


def play(directory: Path, scenario: Callable[[Site], Awaitable[None]], **given: Any) -> None:
    async def whole() -> None:
        async with Site(directory, **given) as site:
            await scenario(site)

    asyncio.run(whole())


def test_envelope_of_a_publish(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        trace = [("traceparent", TRACE), ("tracestate", "a=b")]
        path = "/v1.0/publish/events/orders/new"
        assert (await site.call("POST", path, b'{"n":1.50}', [JSON, *trace])).status == 204
        (event,) = await site.events("orders/new", 1)
        del event["id"], event["time"]
        assert event == {
            "specversion": "1.0",
            "source": "shop",
            "type": "com.dapr.event.sent",
            "topic": "orders/new",
            "pubsubname": "events",
            "traceid": TRACE,
            "traceparent": TRACE,
            "tracestate": "a=b",
            "datacontenttype": "application/json",
            "data": {"n": 1.5},
        }

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("content_type", "body", "want"),
    [
        (None, b"hi", {"datacontenttype": "text/plain", "data": "hi"}),
        ("text/plain", b'{"n":1}', {"datacontenttype": "text/plain", "data": '{"n":1}'}),
        ("application/json", b"no json", {"datacontenttype": "application/json", "data": "no json"}),
        ("application/octet-stream", b"\0\1", {"datacontenttype": "application/octet-stream", "data_base64": "AAE="}),
        ("foo/bar", b"x", {"datacontenttype": "foo/bar", "data": "x"}),
    ],
)
def test_data_by_content_type(tmp_path: Path, content_type: str | None, body: bytes, want: dict[str, str]) -> None:
    async def scenario(site: Site) -> None:
        headers = [("content-type", content_type)] if content_type else []
        assert (await site.call("PUT", "/v1.0/publish/events/t", body, headers)).status == 204
        (event,) = await site.events("t", 1)
        assert {name: event[name] for name in event if name.startswith("data")} == want

    play(tmp_path, scenario)


def test_overrides_expiry_and_raw_bytes(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        query = "metadata.cloudevent.id=7&metadata.CloudEvent.Type=t&metadata.ttlInSeconds=60"
        assert (await site.call("POST", f"/v1.0/publish/events/t?{query}", b"x")).status == 204
        assert (await site.call("POST", "/v1.0/publish/events/t?metadata.rawPayload=true", b"\0raw")).status == 204
        assert (await site.call("POST", "/v1.0/publish/events/t?metadata.ttl=1h30m", b"x")).status == 204
        made, raw, later = await site.events("t", 3)
        lifetime = datetime.fromisoformat(later["expiration"]) - datetime.fromisoformat(later["time"])
        assert lifetime == timedelta(hours=1, minutes=30)
        assert (made["id"], made["type"], "expiration" in made) == ("7", "t", True)
        assert base64.b64decode(raw["data_base64"]) == b"\0raw"

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("path", "status", "code", "reason"),
    [
        ("nobus/t", 404, "ERR_PUBSUB_NOT_FOUND", "DAPR_PUBSUB_NOT_FOUND"),
        ("/t", 404, "ERR_PUBSUB_EMPTY", "DAPR_PUBSUB_NAME_EMPTY"),
        ("events/", 404, "ERR_TOPIC_NAME_EMPTY", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
        ("events", 404, "ERR_TOPIC_NAME_EMPTY", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
        ("events/evoke.async.x", 403, "ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN"),
        ("events/t?metadata.ttlInSeconds=-1", 400, *BAD_METADATA),
        ("events/t?metadata.ttlInSeconds=abc", 400, *BAD_METADATA),
        ("events/t?metadata.ttlInSeconds=100000000000000000000", 400, *BAD_METADATA),
        ("events/t?metadata.ttl=0s", 400, *BAD_METADATA),
        ("events/t?metadata.rawPayload=maybe", 400, *BAD_METADATA),
        ("mine/secret", 403, "ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN"),
        ("theirs/t", 404, "ERR_PUBSUB_NOT_FOUND", "DAPR_PUBSUB_NOT_FOUND"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, path: str, status: int, code: str, reason: str) -> None:
    components = (
        component("pubsub.in-memory", "mine", {"allowedTopics": "open,shared", "protectedTopics": "shared"}),
        component("pubsub.in-memory", "theirs", scopes=("store",)),
    )
    buses = (Bus(key=component("", "mine").key, kind="memory"), Bus(key=component("", "theirs").key, kind="memory"))

    async def scenario(site: Site) -> None:
        site.declare(buses=(*site.fields["buses"], *buses))
        answer = await site.call("POST", f"/v1.0/publish/{path}", b"x")
        assert answer.code == (status, code)
        (info,) = [one for one in answer.json["details"] if one["@type"].endswith("ErrorInfo")]
        assert (info["domain"], info["reason"]) == ("dapr.io", reason)
        assert (await site.call("POST", "/v1.0/publish/mine/open", b"x")).status == 204

    play(tmp_path, scenario, components=components)


def test_topics_of_a_prefixed_component_and_publishing_scopes(tmp_path: Path) -> None:
    metadata = {"publishingScopes": "shop=a;other=b", "protectedTopics": "b"}
    mine = component("pubsub.in-memory", "mine", metadata, topic_prefix="default")

    async def scenario(site: Site) -> None:
        site.declare(buses=(*site.fields["buses"], Bus(key=mine.key, kind="memory")))
        assert (await site.call("POST", "/v1.0/publish/mine/a", b"x")).status == 204
        assert (await site.call("POST", "/v1.0/publish/mine/b", b"x")).status == 403
        bus = site.buses.get(mine.key)
        assert bus is not None
        assert list(bus._topics) == ["defaulta"]  # type: ignore[attr-defined]  # the memory bus's own

    play(tmp_path, scenario, components=(mine,))


def test_bulk_publish(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        entries = [
            {"entryId": "1", "event": {"n": 1}, "contentType": "application/json", "metadata": {"partitionKey": "k"}},
            {"entryId": "2", "event": "text", "contentType": "text/plain"},
            {"entryId": "3", "event": "AAE=", "contentType": "application/octet-stream"},
            {"entryId": "4", "event": "x", "metadata": {"ttlInSeconds": "soon"}},
        ]
        for version in ("v1.0", "v1.0-alpha1"):
            answer = await site.call("POST", f"/{version}/publish/bulk/events/t?metadata.cloudevent.type=kind", entries)
            assert answer.code == (500, "ERR_PUBSUB_PUBLISH_MESSAGE")
            assert [one["entryId"] for one in answer.json["failedEntries"]] == ["4"]
        events = await site.events("t", 6)
        assert events[0]["data"] == {"n": 1}
        assert (events[0]["partitionkey"], events[0]["type"]) == ("k", "kind")
        assert (events[1]["data"], events[2]["data_base64"]) == ("text", "AAE=")
        assert (await site.call("PUT", "/v1.0/publish/bulk/events/t", entries[:3])).status == 204

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[{]",
        b'[{"entryId":"1","event":1},{"entryId":"1","event":2}]',
        b'[{"event":1}]',
        b'[{"entryId":"1"}]',
        b'[{"entryId":"1","event":1,"metadata":{"a":1}}]',
        b"[" * 100_000,
        b'[{"entryId":"1","event":"\xff"}]',
        b'[{"entryId":"1","event":"\\ud800","contentType":"text/plain"}]',
    ],
)
def test_bulk_publish_that_does_not_hold(tmp_path: Path, body: bytes) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.call("POST", "/v1.0/publish/bulk/events/t", body)
        assert answer.code == (400, "ERR_PUBSUB_EVENTS_SER")

    play(tmp_path, scenario)


def test_who_calls(tmp_path: Path) -> None:
    """Missing, wrong, foreign, doubled tokens; and addresses that need none."""

    async def scenario(site: Site) -> None:
        from api.platform import spare

        path, token = "/v1.0/publish/events/t", PLATFORM.token(SHOP)
        for wrong in ("", "x", token[:-1], token + "x", "default.shop.", PLATFORM.token(SHOP).upper()):
            assert (await site.call("POST", path, b"x", token=wrong)).code == (401, "ERR_API_TOKEN")
        assert (await site.call("POST", path, b"x", [("dapr-api-token", token)])).code == (401, "ERR_API_TOKEN")
        own = await site.listen(SHOP, spare())
        assert (await site.call("POST", path, b"x", token="", address=own)).status == 204
        assert (await site.call("POST", path, b"x", address=own)).status == 204
        other = PLATFORM.token(STORE)
        assert (await site.call("POST", path, b"x", token=other, address=own)).code == (401, "ERR_API_TOKEN")
        assert (await site.call("POST", path, b"x", token=other)).status == 204
        assert [one["source"] for one in await site.events("t", 3)] == ["shop", "shop", "store"]
        site.listeners.assign([])

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.0/healthz", 204),
        ("/v1.0/healthz/outbound", 204),
        ("/v1.0/healthz/", 404),
        ("/v1.0/healthz/../metadata", 400),
        ("/v1.0/metadata/healthz", 401),
        ("/v1.0/metadata?x=/v1.0/healthz", 401),
        ("/v1.0/publish/healthz/x", 401),
        ("/v1.0/%68ealthz", 401),
        ("//v1.0/healthz", 401),
        ("/v1.0/healthz;x", 401),
        ("/v1.0/healthz%2f..%2fmetadata", 401),
    ],
)
def test_only_health_needs_no_token(tmp_path: Path, path: str, status: int) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call("GET", path, token="")).status == status

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "path",
    [
        "/v1.0/publish/events/../x",
        "/v1.0/publish/events/%2e%2e/x",
        "/v1.0/publish/%2E/x",
        "/v1.0/state/../secrets/x",
        "/v1.0/publish/events/a%00b",
        "/v1.0/publish/events/a%0d%0ab",
        "/v1.0/publish/events/a\\b",
        "/v1.0/publish/events/%zz",
        "/v1.0/state/s/%ff%fe",
        "/v1.0/publish/events/..;x/y",
    ],
)
def test_paths_that_can_be_read_in_two_ways(tmp_path: Path, path: str) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.call("POST" if "publish" in path else "GET", path, b"x")
        assert answer.code == (400, "ERR_MALFORMED_REQUEST")

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1.0/publish/events/t", 405, "ERR_METHOD"),
        ("DELETE", "/v1.0/metadata", 405, "ERR_METHOD"),
        ("GET", "/v1.0/nothing", 404, "ERR_NOT_FOUND"),
        ("GET", "/", 404, "ERR_NOT_FOUND"),
        ("GET", "/v2.0/publish/events/t", 404, "ERR_NOT_FOUND"),
        ("PUT", "/v1.0/actors/a/1/method/m", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha1/lock/store", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-beta1/workflows/dapr/w/start", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha1/jobs/j", 501, "ERR_API_UNIMPLEMENTED"),
        ("PUT", "/v1.0-alpha1/crypto/c/encrypt", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha2/conversation/c/converse", 501, "ERR_API_UNIMPLEMENTED"),
        ("POST", "/v1.0-alpha1/state/s/query", 501, "ERR_API_UNIMPLEMENTED"),
    ],
)
def test_what_is_not_there(tmp_path: Path, method: str, path: str, status: int, code: str) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call(method, path, b"{}")).code == (status, code)

    play(tmp_path, scenario)


def test_limits_of_body_and_head(tmp_path: Path) -> None:
    small = msgspec.structs.replace(APPS[0], max_body=100_000)

    async def scenario(site: Site) -> None:
        path = "/v1.0/publish/events/t"
        assert (await site.call("POST", path, b"x" * 100_000)).status == 204
        assert (await site.call("POST", path, b"x" * 100_001)).code == (413, "ERR_BODY_TOO_LARGE")

        async def endless() -> Any:
            for _ in range(50):
                yield b"x" * 10_000

        token = [(b"dapr-api-token", PLATFORM.token(SHOP).encode())]
        reply = await site.client.request(site.address, "POST", path, token, endless(), timeout=5)
        assert reply.status == 413
        await reply.close()
        assert (await site.call("POST", path, b"x" * 200_000, token=PLATFORM.token(STORE))).status == 204
        answer = await site.call("POST", path, b"x", [("x-long", "y" * 40_000)])
        assert answer.code == (431, "ERR_HEADERS_TOO_LARGE")
        assert (await site.call("POST", f"{path}{'y' * 40_000}", b"x")).status == 431
        assert (await site.call("POST", path, b"x")).status == 204

    play(tmp_path, scenario, apps=(small, APPS[1]))


def test_apis_that_a_configuration_leaves(tmp_path: Path) -> None:
    bound = App(
        key=SHOP, id="shop", protocol="http", allowed_apis=(ApiRule(name="publish"), ApiRule(name="state")),
        denied_apis=(ApiRule(name="state"),),
    )  # fmt: skip

    async def scenario(site: Site) -> None:
        assert (await site.call("POST", "/v1.0/publish/events/t", b"x")).status == 204
        for path in ("/v1.0/state/s/k", "/v1.0/metadata", "/v1.0/invoke/store/method/m"):
            assert (await site.call("GET", path)).code == (403, "ERR_API_NOT_ALLOWED")
        assert (await site.call("GET", "/v1.0/healthz")).status == 204
        assert (await site.call("GET", "/v1.0/metadata", token=PLATFORM.token(STORE))).status == 200

    play(tmp_path, scenario, apps=(bound, APPS[1]))


def test_one_app_that_floods_is_told_to_wait(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        site.runtime._crowd._per_app = 2
        release = asyncio.Event()

        async def wait(_seen: Any) -> tuple[int, bytes]:
            await release.wait()
            return 200, b""

        store = await site.app(STORE, wait)
        calls = [asyncio.create_task(site.call("GET", "/v1.0/invoke/store/method/m")) for _ in range(2)]
        await until(lambda: len(store.seen) == 2)
        answer = await site.call("POST", "/v1.0/publish/events/t", b"x")
        assert answer.code == (429, "ERR_TOO_MANY_REQUESTS")
        assert answer.headers["retry-after"] == "1"
        assert (await site.call("POST", "/v1.0/publish/events/t", b"x", token=PLATFORM.token(STORE))).status == 204
        release.set()
        assert [one.status for one in await asyncio.gather(*calls)] == [200, 200]
        assert (await site.call("POST", "/v1.0/publish/events/t", b"x")).status == 204

    play(tmp_path, scenario)
