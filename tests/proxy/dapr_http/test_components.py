"""State, secrets, bindings, metadata and health over HTTP, on real components."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.delivery import Backoff, DeliveryPolicy
from api.meta import Key
from api.model import App, Backend, CircuitBreaker, Resilience, Retry, Rule, SecretScope, Subscription
from tests.proxy.dapr_http.site import APPS, BUS, PLATFORM, SHOP, STORE, Seen, Site, component, revision


def play(directory: Path, scenario: Callable[[Site], Awaitable[None]], **given: Any) -> None:
    state = component("state.sqlite", "db", {"connectionString": str(directory / "state.db")})

    async def whole() -> None:
        given.setdefault("components", (state,))
        async with Site(directory, **given) as site:
            await scenario(site)

    asyncio.run(whole())


def test_state_with_etags(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call("GET", "/v1.0/state/db/k")).status == 204
        saved = [{"key": "k", "value": {"n": 1.50}}, {"key": "a/b", "value": "text"}]
        assert (await site.call("POST", "/v1.0/state/db", saved)).status == 204
        answer = await site.call("GET", "/v1.0/state/db/k")
        assert (answer.status, answer.json, answer.headers["content-type"]) == (200, {"n": 1.5}, "application/json")
        etag = answer.headers["etag"]
        assert etag
        assert (await site.call("GET", "/v1.0/state/db/a%2Fb")).body == b'"text"'

        stale = [{"key": "k", "value": 2, "etag": "0" * 8}]
        assert (await site.call("POST", "/v1.0/state/db", stale)).code[0] in {400, 409}
        good = [{"key": "k", "value": 2, "etag": etag, "options": {"concurrency": "first-write"}}]
        assert (await site.call("PUT", "/v1.0/state/db", good)).status == 204
        assert (await site.call("PUT", "/v1.0/state/db", good)).code == (409, "ERR_STATE_SAVE")
        headers = [("if-match", etag)]
        answer = await site.call("DELETE", "/v1.0/state/db/k", headers=headers)
        assert answer.code == (409, "ERR_STATE_DELETE")
        assert (await site.call("DELETE", "/v1.0/state/db/k?concurrency=last-write")).status == 204
        assert (await site.call("GET", "/v1.0/state/db/k")).status == 204

    play(tmp_path, scenario)


def test_state_belongs_to_its_app(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call("POST", "/v1.0/state/db", [{"key": "k", "value": 1}])).status == 204
        assert (await site.call("GET", "/v1.0/state/db/k", token=PLATFORM.token(STORE))).status == 204

    play(tmp_path, scenario)


def test_bulk_state_and_transactions(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        operations = [
            {"operation": "upsert", "request": {"key": "a", "value": 1}},
            {"operation": "upsert", "request": {"key": "b", "value": [2]}},
            {"operation": "delete", "request": {"key": "c"}},
        ]
        answer = await site.call("POST", "/v1.0/state/db/transaction", {"operations": operations, "metadata": {}})
        assert answer.status == 204
        answer = await site.call("POST", "/v1.0/state/db/bulk", {"keys": ["b", "x", "a"], "parallelism": 2})
        told = answer.json
        assert [one["key"] for one in told] == ["b", "x", "a"]
        assert (told[0]["data"], "data" in told[1], told[2]["data"]) == ([2], False, 1)
        assert told[0]["etag"]
        broken = [*operations[:1], {"operation": "upsert", "request": {"key": "b", "value": 3, "etag": "none"}}]
        broken[0] = {"operation": "upsert", "request": {"key": "a", "value": 9}}
        answer = await site.call("POST", "/v1.0/state/db/transaction", {"operations": broken})
        assert answer.status in {400, 409}
        assert (await site.call("GET", "/v1.0/state/db/a")).body == b"1"
        wrong = [{"operation": "increment", "request": {"key": "a"}}]
        answer = await site.call("POST", "/v1.0/state/db/transaction", {"operations": wrong})
        assert answer.code == (400, "ERR_NOT_SUPPORTED_STATE_OPERATION")
        assert (await site.call("POST", "/v1.0/state/db/transaction", {"operations": []})).status == 204
        assert (await site.call("POST", "/v1.0/state/db/bulk", {"keys": []})).json == []

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "nodb/k", b"", 400, "ERR_STATE_STORE_NOT_FOUND"),
        ("GET", "db/a%7C%7Cb", b"", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", [{"key": "a||b", "value": 1}], 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", [{"value": 1}], 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", b"{}", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", b"[{\"key\":", 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", [{"key": "k" * 10_000, "value": 1}], 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", [{"key": "k", "value": 1, "options": {"concurrency": "maybe"}}], 400, "ERR_MALFORMED_REQUEST"),
        ("POST", "db", [{"key": "k", "value": 1, "metadata": {"ttlInSeconds": "soon"}}], 400, "ERR_STATE_SAVE"),
        ("POST", "db/bulk", b"[]", 400, "ERR_MALFORMED_REQUEST"),
        ("DELETE", "db/k?consistency=weak", b"", 400, "ERR_MALFORMED_REQUEST"),
    ],
)  # fmt: skip
def test_state_that_does_not_hold(tmp_path: Path, method: str, path: str, body: Any, status: int, code: str) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call(method, f"/v1.0/state/{path}", body)).code == (status, code)

    play(tmp_path, scenario)


def secret_file(directory: Path) -> Path:
    path = directory / "secrets.json"
    path.write_text(json.dumps({"db": "x1", "api": "x2", "other": {"deep": "x3"}}))
    return path


def test_secrets_within_their_scopes(tmp_path: Path) -> None:
    vault = component("secretstores.local.file", "vault", {"secretsFile": str(secret_file(tmp_path))})
    bound = App(
        key=STORE, id="store", protocol="http", secrets=(SecretScope(store="vault", default="deny", allowed=("api",)),)
    )

    async def scenario(site: Site) -> None:
        assert (await site.call("GET", "/v1.0/secrets/vault/db")).json == {"db": "x1"}
        assert (await site.call("GET", "/v1.0/secrets/vault/none")).status == 204
        assert set((await site.call("GET", "/v1.0/secrets/vault/bulk")).json) == {"db", "api", "other:deep"}
        token = PLATFORM.token(STORE)
        answer = await site.call("GET", "/v1.0/secrets/vault/db", token=token)
        assert answer.code == (403, "ERR_PERMISSION_DENIED")
        answer = await site.call("GET", "/v1.0/secrets/vault/none", token=token)
        assert answer.code == (403, "ERR_PERMISSION_DENIED")
        assert (await site.call("GET", "/v1.0/secrets/vault/bulk", token=token)).json == {"api": {"api": "x2"}}
        assert (await site.call("GET", "/v1.0/secrets/none/db")).code == (401, "ERR_SECRET_STORE_NOT_FOUND")

    play(tmp_path, scenario, components=(vault,), apps=(APPS[0], bound))


def test_bindings(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    folder = component("bindings.localstorage", "folder", {"rootPath": str(files)})

    async def scenario(site: Site) -> None:
        asked = {"operation": "create", "data": {"n": 1}, "metadata": {"fileName": "a.json"}}
        answer = await site.call("POST", "/v1.0/bindings/folder", asked)
        assert answer.status in {200, 204}
        assert json.loads((files / "a.json").read_bytes()) == {"n": 1}
        asked = {"operation": "get", "metadata": {"fileName": "a.json"}}
        answer = await site.call("PUT", "/v1.0/bindings/folder", asked)
        assert (answer.status, answer.json) == (200, {"n": 1})
        for wrong in ({}, {"operation": "explode"}):
            answer = await site.call("POST", "/v1.0/bindings/folder", wrong)
            assert answer.code == (500, "ERR_INVOKE_OUTPUT_BINDING")
            assert "get" in answer.json["message"]
        answer = await site.call("POST", "/v1.0/bindings/none", asked)
        assert answer.code == (500, "ERR_INVOKE_OUTPUT_BINDING")
        assert (await site.call("POST", "/v1.0/bindings/folder", b"x")).code == (400, "ERR_MALFORMED_REQUEST")

    play(tmp_path, scenario, components=(folder,))


def test_resiliency_of_a_component(tmp_path: Path) -> None:
    retry = Retry(backoff=Backoff(initial=timedelta(0), cap=timedelta(0), jitter=0.0), max_retries=2)
    breaker = CircuitBreaker(trip="consecutiveFailures >= 2")
    shop = App(
        key=SHOP,
        id="shop",
        protocol="http",
        resilience=(
            Resilience(target="component:", retry=retry),
            Resilience(target="component:guarded", breaker=breaker),
        ),
    )

    async def scenario(site: Site) -> None:
        statuses = iter([500, 500, 200, 500, 500])

        async def answer(_seen: Seen) -> tuple[int, bytes]:
            return next(statuses), b"told"

        outside = await site.app(STORE, answer)
        url = {"url": f"http://{outside.address}"}
        site.declare(components=(component("bindings.http", "web", url), component("bindings.http", "guarded", url)))
        asked = {"operation": "get"}
        assert (await site.call("POST", "/v1.0/bindings/web", asked)).body == b"told"
        assert len(outside.seen) == 3
        for code in ("ERR_INVOKE_OUTPUT_BINDING", "ERR_INVOKE_OUTPUT_BINDING", "ERR_CIRCUIT_BREAKER_OPEN"):
            answer_ = await site.call("POST", "/v1.0/bindings/guarded", asked)
            assert answer_.code[1] == code
        assert len(outside.seen) == 5

    play(tmp_path, scenario, apps=(shop, APPS[1]), components=())


def test_metadata_health_and_shutdown(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert (await site.call("PUT", "/v1.0/metadata/color", b"blue")).status == 204
        told = (await site.call("GET", "/v1.0/metadata")).json
        assert (told["id"], told["extended"]["color"]) == ("shop", "blue")
        assert {(one["name"], one["type"]) for one in told["components"]} == {
            ("db", "state.sqlite"), ("events", "pubsub.memory"),
        }  # fmt: skip
        other = (await site.call("GET", "/v1.0/metadata", token=PLATFORM.token(STORE))).json
        assert "color" not in other["extended"]

        assert (await site.call("GET", "/v1.0/healthz?appid=shop")).status == 204
        answer = await site.call("GET", "/v1.0/healthz?appid=store")
        assert answer.code == (500, "ERR_HEALTH_APPID_NOT_MATCH")
        assert (await site.call("POST", "/v1.0/shutdown")).status == 204
        assert (await site.call("GET", "/v1.0/healthz")).status == 204

    play(tmp_path, scenario)


def test_subscriptions_of_an_app_in_its_metadata(tmp_path: Path) -> None:
    def one(name: str, **changes: Any) -> Subscription:
        backends = (Backend(revision=revision(SHOP)),)
        fields: dict[str, Any] = {"subject": name, "group": "shop", "trigger": "shop", "backends": backends}
        return Subscription(key=Key("default", name), bus=BUS, **(fields | changes))

    subscriptions = (
        one("a", path="/a", rules=(Rule(match="event.data.n > 1", path="/large"),), metadata={"x": "1"}),
        one("b", unmatched=True, rules=(Rule(match="true", path="/b"),), programmatic=True),
        one("c", form="stream", programmatic=True, delivery=DeliveryPolicy(dead_letter="dead")),
        one("d", form="binding"),
        one("e", backends=(Backend(revision=revision(STORE)),)),
    )

    async def scenario(site: Site) -> None:
        told = (await site.call("GET", "/v1.0/metadata")).json["subscriptions"]
        shown = {"pubsubname": "events", "deadLetterTopic": ""}
        rules = [{"match": "event.data.n > 1", "path": "/large"}, {"path": "/a"}]
        assert told == [
            {**shown, "topic": "a", "metadata": {"x": "1"}, "rules": rules, "type": "DECLARATIVE"},
            {**shown, "topic": "b", "rules": [{"match": "true", "path": "/b"}], "type": "PROGRAMMATIC"},
            {**shown, "topic": "c", "rules": [{"path": "/"}], "type": "STREAMING", "deadLetterTopic": "dead"},
        ]

    play(tmp_path, scenario, subscriptions=subscriptions)


def test_it_is_not_ready_before_it_knows_anything(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        site.runtime.directory.known = False
        assert (await site.call("GET", "/v1.0/healthz")).code == (500, "ERR_HEALTH_NOT_READY")
        answer = await site.call("GET", "/v1.0/healthz/outbound", token="")
        assert answer.code == (500, "ERR_OUTBOUND_HEALTH_NOT_READY")

    play(tmp_path, scenario)


def test_a_component_of_its_own_and_scopes(tmp_path: Path) -> None:
    def db(name: str, **fields: Any) -> Any:
        return component("state.sqlite", name, {"connectionString": str(tmp_path / f"{len(name)}.db")}, **fields)

    async def scenario(site: Site) -> None:
        assert (await site.call("GET", "/v1.0/state/own/k")).status == 204
        answer = await site.call("GET", "/v1.0/state/own/k", token=PLATFORM.token(STORE))
        assert answer.code == (400, "ERR_STATE_STORE_NOT_FOUND")
        assert (await site.call("GET", "/v1.0/state/scoped/k")).code == (400, "ERR_STATE_STORE_NOT_FOUND")
        assert (await site.call("GET", "/v1.0/state/scoped/k", token=PLATFORM.token(STORE))).status == 204

    play(tmp_path, scenario, components=(db("shop/own"), db("scoped", scopes=("store",))))
