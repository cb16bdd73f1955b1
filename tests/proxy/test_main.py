"""The whole proxy: control stream, nats-server, both HTTP APIs, replicas; the test is controller and command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.frames import Notice
from api.meta import Key
from api.model import Bus, Component, Snapshot, Source, Subscription, digest
from api.platform import Platform
from proxy.agent import ProxyAgent
from proxy.main import run
from proxy.settings import ProxySettings
from replicas.http import HttpClient
from replicas.server import ControlServer
from tests.brokers import Nats, start_nats
from tests.proxy.plant import REVISION, SUBJECT, Answer, Replica, event, subscription, until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


class Controller:
    """What the test needs of one: publishes a snapshot, assigns everything, tells endpoints, hears notices."""

    def __init__(self, directory: Path, nats: Nats, namespace: str) -> None:
        self.directory = directory
        self.namespace = namespace
        self.notices: list[Notice] = []
        self.server = ControlServer(directory / "c", 1, lambda: None, self.notices.append)
        self.platform = Platform(
            http="127.0.0.1:0",
            mqtt=f"127.0.0.1:{nats.mqtt_port}",
            nats=nats.settings.nats,
            dapr="127.0.0.1:0",
            nats_user=nats.user,
            nats_password=nats.password,
            key="00" * 32,
        )
        self.settings = ProxySettings(
            control=directory / "c",
            cache=directory / "cache",
            operations=directory / "o",
            dapr_socket=directory / "d",
            platform=self.platform,
        )
        self.client = HttpClient()
        self.agent: ProxyAgent | None = None
        self.replicas: list[Replica] = []
        self.proxy: asyncio.Task[None] | None = None

    def declare(
        self, *subscriptions: Subscription, sources: tuple[Source, ...] = (), components: Any = (), assigned: Any = None
    ) -> None:
        content = Snapshot(
            namespace=self.namespace,
            subscriptions=subscriptions,
            sources=sources,
            buses=(Bus(key=Key(self.namespace, "default"), kind="nats"),),
            components=components,
        )
        self.server.publish(
            Snapshot(
                **{name: getattr(content, name) for name in content.__struct_fields__} | {"digest": digest(content)}
            )
        )
        mine = subscriptions if assigned is None else assigned
        self.server.assign("proxy-0", [one.key for one in mine], [source.key for source in sources])

    async def start_proxy(self) -> None:
        agents: list[ProxyAgent] = []
        self.proxy = asyncio.create_task(run(self.settings, agents.append))
        await until(lambda: agents or (self.proxy and self.proxy.done()))
        self.agent = agents[0]

    async def stop_proxy(self) -> None:
        assert self.proxy is not None
        self.proxy.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.proxy

    async def scale(self, *replicas: Replica) -> None:
        for replica in replicas:
            if replica not in self.replicas:
                await replica.start()
                self.replicas.append(replica)
        self.server.endpoints(REVISION, [replica.endpoint for replica in replicas])

    async def call(self, api: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        reply = await self.client.request(f"unix:{self.directory / api}", method, path, pairs, raw, timeout=10)
        text = (await reply.read(1 << 20)).decode()
        return reply.status, [json.loads(line) for line in text.splitlines()] if "\n" in text.strip() else json.loads(
            text or "null"
        )

    @property
    def reading(self) -> Any:
        state = self.server.agents.get("proxy-0")
        readings = state.readings.triggers if state and state.readings else ()
        return readings[0] if readings else None

    async def settled(self) -> None:
        """The subscription is owned, and nothing waits."""
        await until(lambda: self.reading and not self.reading.blind and self.reading.lag == 0)

    def operation(self, path: str) -> str:
        return f"/v1/namespaces/{self.namespace}/{path}"


@contextlib.asynccontextmanager
async def controller(directory: Path, nats: Nats, namespace: str) -> AsyncIterator[Controller]:
    made = Controller(directory, nats, namespace)
    await made.server.start()
    await made.start_proxy()
    try:
        yield made
    finally:
        await made.stop_proxy()
        await made.client.aclose()
        await made.server.stop()
        for replica in made.replicas:
            await replica.kill()


Scenario = Callable[[Controller], Coroutine[Any, Any, None]]


@pytest.fixture
def play(
    nats: Nats, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[Scenario], None]:
    """Run a scenario in a namespace of its own; socket paths must be short."""
    import tempfile

    name = request.node.name.replace("_", "-")[:40].strip("-")

    def run_it(scenario: Scenario) -> None:
        async def whole() -> None:
            with tempfile.TemporaryDirectory(prefix="evk") as directory:
                async with controller(Path(directory), nats, name) as made:
                    await scenario(made)

        asyncio.run(whole())

    return run_it


def owned(made: Controller, **changes: Any) -> Subscription:
    return subscription(**({"key": Key(made.namespace, "on-reading"), "bus": Key(made.namespace, "default")} | changes))


def test_from_publish_to_handler_and_back_to_sleep(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        made.declare(owned(made))
        await made.settled()
        path = made.operation(f"buses/default/publish?subject={SUBJECT}")
        assert await made.call("o", "POST", path, json.loads(event(1))) == (200, {"published": 1})
        await until(lambda: made.server.agents["proxy-0"].wants)
        assert made.reading.lag in {0, 1}

        replica = Replica()
        await made.scale(replica)
        await made.settled()
        await until(lambda: made.reading.done == 1)
        assert replica.numbers == [1]

        assert await made.server.close(REVISION, [replica.id], last=True)
        assert await made.call("o", "POST", path, json.loads(event(2))) == (200, {"published": 1})
        await until(lambda: made.reading.lag == 1)
        await made.scale(again := Replica())
        await made.settled()
        assert again.numbers == [2]

    play(scenario)


def test_what_is_published_before_a_new_subscription_opened_reaches_it(play: Callable[[Scenario], None]) -> None:
    """Source, function and trigger of one manifest come up in any order."""

    async def scenario(made: Controller) -> None:
        replica, late = Replica(), owned(made, start="new")
        made.declare(late, assigned=())
        await made.scale(replica)
        await until(lambda: made.agent and made.agent.buses.readings() and made.agent.buses.readings()[0].connected)
        path = made.operation(f"buses/default/publish?subject={SUBJECT}")
        publishing = asyncio.create_task(made.call("o", "POST", path, json.loads(event(1))))
        await until(lambda: made.agent and made.agent.buses.openings._queues)
        assert not publishing.done()

        made.server.assign("proxy-0", [late.key], [])
        assert await publishing == (200, {"published": 1})
        await until(lambda: replica.numbers == [1])

    play(scenario)


def test_close_is_refused_while_work_is_held(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        release = asyncio.Event()

        async def handler(_one: Answer) -> Answer:
            await release.wait()
            return {"status": "SUCCESS"}

        made.declare(owned(made))
        replica = Replica(handler)
        await made.scale(replica)
        await made.settled()
        await made.call("o", "POST", made.operation(f"buses/default/publish?subject={SUBJECT}"), json.loads(event(1)))
        await until(lambda: any(replica.running.values()))
        assert not await made.server.close(REVISION, [replica.id], last=True)
        release.set()
        await until(lambda: made.reading.done == 1 and not made.reading.held)
        assert await made.server.close(REVISION, [replica.id], last=True)

    play(scenario)


def test_draining_one_of_two_waits_for_its_work(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        release = asyncio.Event()

        async def handler(_one: Answer) -> Answer:
            await release.wait()
            return {"status": "SUCCESS"}

        made.declare(owned(made))
        one, two = Replica(handler, credit=1), Replica(handler, credit=1)
        await made.scale(one, two)
        await made.settled()
        events = {"events": [json.loads(event(n)) for n in range(2)]}
        await made.call("o", "POST", made.operation(f"buses/default/publish?subject={SUBJECT}"), events)
        await until(lambda: any(one.running.values()) and any(two.running.values()))
        closing = asyncio.create_task(made.server.close(REVISION, [one.id], last=False))
        await until(
            lambda: made.agent and not any(e.replica == one.id for e in made.agent._wiring.table.ready(REVISION))
        )
        assert not closing.done()
        release.set()
        assert await closing

    play(scenario)


def test_restart_without_controller_goes_on(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        made.declare(owned(made))
        replica = Replica()
        await made.scale(replica)
        await made.settled()
        await made.stop_proxy()
        await made.server.stop()
        await made.start_proxy()
        await until(lambda: made.agent and made.agent.readings() and not made.agent.readings()[0].blind)
        path = made.operation(f"buses/default/publish?subject={SUBJECT}")
        assert await made.call("o", "POST", path, json.loads(event(7))) == (200, {"published": 1})
        await until(lambda: replica.numbers == [7])

    play(scenario)


def test_dead_letters_are_listed_replayed_and_purged(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        healthy = False

        async def handler(_one: Answer) -> Answer:
            return {"status": "SUCCESS"} if healthy else {"status": "DROP", "reason": "no such vehicle"}

        made.declare(owned(made))
        replica = Replica(handler)
        await made.scale(replica)
        await made.settled()
        events = {"events": [json.loads(event(n)) for n in range(3)]}
        await made.call("o", "POST", made.operation(f"buses/default/publish?subject={SUBJECT}"), events)
        await until(lambda: made.reading.dead == 3)

        status, letters = await made.call(
            "o", "GET", made.operation("dead-letters/on-reading?reason=rejected&since=1h")
        )
        assert status == 200
        assert [letter["event"]["id"] for letter in letters] == ["0", "1", "2"]
        assert {(letter["reason"], letter["error"], letter["attempts"]) for letter in letters} == {
            ("rejected", "no such vehicle", 1)
        }
        assert {notice.kind for notice in made.notices} == {"dead-letter"}

        healthy = True
        path = made.operation("dead-letters/on-reading")
        assert await made.call("o", "POST", path, {"ids": [letters[0]["id"]]}) == (200, {"count": 1})
        await until(lambda: made.reading.done == 1)
        assert await made.call("o", "DELETE", f"{path}?ids={letters[1]['id']}") == (200, {"count": 1})
        assert await made.call("o", "POST", path, {"ids": None}) == (200, {"count": 1})
        await until(lambda: made.reading.done == 2)
        assert await made.call("o", "DELETE", path) == (200, {"count": 0})
        status, body = await made.call("o", "GET", made.operation("dead-letters/nobody"))
        assert (status, body["error"]["hint"]) == (404, "there is on-reading")

    play(scenario)


def test_deleted_trigger_gets_no_stale_backlog(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        sub = owned(made, start="new")
        made.declare(sub)
        await made.settled()
        path = made.operation(f"buses/default/publish?subject={SUBJECT}")
        await made.call("o", "POST", path, json.loads(event(1)))
        made.declare()
        await until(lambda: made.reading is None)
        made.declare(sub)
        replica = Replica()
        await made.scale(replica)
        await made.settled()
        await made.call("o", "POST", path, json.loads(event(2)))
        await until(lambda: replica.numbers)
        assert replica.numbers == [2]

    play(scenario)


def test_mqtt_message_reaches_the_function(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        source = Source(
            key=Key(made.namespace, "fleet.telemetry"),
            kind="mqtt",
            options={"topic": "fleet/+/telemetry"},
            bus=Key(made.namespace, "default"),
            subject=SUBJECT,
        )
        made.declare(owned(made, condition="event.data.battery < 20"), sources=(source,))
        replica = Replica()
        await made.scale(replica)
        await made.settled()
        await until(lambda: made.agent and made.agent.sources.readings()[0].connected)
        path = made.operation("sources/fleet/publish")
        for battery in (90, 18):
            message = {"topic": "fleet/v-07/telemetry", "payload": json.dumps({"n": 1, "battery": battery})}
            assert await made.call("o", "POST", path, message) == (200, {"published": 1})
        await until(lambda: replica.events)
        assert replica.events[0]["data"]["battery"] == 18
        assert replica.events[0]["partitionkey"] == "fleet/v-07/telemetry"
        status, body = await made.call("o", "POST", made.operation("sources/flet/publish"), message)
        assert (status, body["error"]["hint"]) == (404, "there is fleet")

    play(scenario)


def test_tail_shows_what_matches(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        made.declare(owned(made))
        await made.settled()
        path = made.operation(f"buses/default/publish?subject={SUBJECT}")
        events = {"events": [json.loads(event(n)) for n in range(5)]}
        await made.call("o", "POST", path, events)
        reply = await made.client.request(
            f"unix:{made.directory / 'o'}",
            "GET",
            made.operation(f"buses/default/tail?subject={SUBJECT}&since=1h&filter=event.data.n%20%3E%203"),
            [],
            timeout=5,
        )
        async for chunk in reply.stream():
            assert json.loads(chunk)["data"] == {"n": 4}
            break
        await reply.close()
        status, body = await made.call("o", "GET", made.operation("buses/default/tail?filter=nonsense"))
        assert (status, body["problems"][0]["code"]) == (422, "E125")

    play(scenario)


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"{", "at offset 1"), (b'{"specversion":"1.0"}', "lacks the attribute id"), (b"[]", "is a JSON object")],
)
def test_publish_refuses_what_is_no_event(play: Callable[[Scenario], None], body: bytes, says: str) -> None:
    async def scenario(made: Controller) -> None:
        made.declare()
        await until(lambda: made.agent and any(bus.connected for bus in made.agent.buses.readings()))
        status, answer = await made.call("o", "POST", made.operation("buses/default/publish?subject=x"), body)
        assert (status, answer["error"]["code"]) == (400, "E141")
        assert says in json.dumps(answer)
        status, answer = await made.call("o", "POST", made.operation("buses/other/publish?subject=x"), body)
        assert (status, answer["error"]["hint"]) == (404, "there is default")

    play(scenario)


def test_a_publish_that_echoes_its_hops_is_one_further(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        made.declare(owned(made, subject="alerts"))
        replica = Replica()
        await made.scale(replica)
        await made.settled()
        token = made.platform.token(Key(made.namespace, "on-reading"))
        headers = {"dapr_api_token": token, "content_type": "application/json", "evoke_hops": "4"}
        assert await made.call("d", "POST", "/v1.0/publish/default/alerts", b"{}", **headers) == (204, None)

        await until(lambda: replica.events)
        assert replica.events[0]["evokehops"] == 5
        assert replica.headers[-1]["evoke-hops"] == "5"

    play(scenario)


def test_dapr_publish_reaches_a_subscriber(play: Callable[[Scenario], None]) -> None:
    async def scenario(made: Controller) -> None:
        scoped = Component(key=Key(made.namespace, "other"), type="pubsub.kafka", version="v1", scopes=("someone",))
        made.declare(owned(made, subject="alerts"), components=(scoped,))
        replica = Replica()
        await made.scale(replica)
        await made.settled()
        token = made.platform.token(Key(made.namespace, "on-reading"))
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        good = {"dapr_api_token": token, "content_type": "application/json", "traceparent": trace}

        assert await made.call("d", "POST", "/v1.0/publish/default/alerts", b'{"n": 1.50}', **good) == (204, None)
        structured = good | {"content_type": "application/cloudevents+json; charset=utf-8"}
        assert await made.call("d", "POST", "/v1.0/publish/default/alerts", event(2, key="a"), **structured) == (
            204,
            None,
        )
        entries = [
            {"entryId": "1", "event": json.loads(event(3)), "contentType": "application/cloudevents+json"},
            {"entryId": "2", "event": {"n": 4}, "contentType": "application/json", "metadata": {"partitionKey": "k"}},
            {"entryId": "3", "event": "AAEC", "contentType": "application/octet-stream"},
        ]
        assert await made.call("d", "POST", "/v1.0/publish/bulk/default/alerts", entries, **good) == (204, None)
        await until(lambda: len(replica.events) == 5)
        first, second, third, fourth, fifth = sorted(
            replica.events, key=lambda one: str(one.get("data", {}).get("n")) if "data" in one else "z"
        )
        assert first["data"] == {"n": 1.5}
        assert (first["source"], first["type"]) == (f"on-reading-{made.namespace}", "com.dapr.event.sent")
        assert (first["topic"], first["pubsubname"], first["traceparent"]) == ("alerts", "default", trace)
        assert (second["id"], second["source"], second["partitionkey"], second["topic"]) == (
            "2",
            "/test",
            "a",
            "alerts",
        )
        assert third["id"] == "3"
        assert fourth["partitionkey"] == "k"
        assert fifth["data_base64"] == "AAEC"

        for path, headers, status, code in [
            ("/v1.0/publish/default/alerts", {}, 401, "ERR_API_TOKEN"),
            ("/v1.0/publish/default/alerts", {"dapr_api_token": token[:-1] + "x"}, 401, "ERR_API_TOKEN"),
            ("/v1.0/publish/nobus/alerts", good, 404, "ERR_PUBSUB_NOT_FOUND"),
            ("/v1.0/publish/other/alerts", good, 404, "ERR_PUBSUB_NOT_FOUND"),
            ("/v1.0/publish/default/evoke.async.x.y", good, 403, "ERR_PUBSUB_FORBIDDEN"),
            ("/v1.0/publish/default/", good, 404, "ERR_TOPIC_NAME_EMPTY"),
            ("/v1.0/state/store", good, 400, "ERR_MALFORMED_REQUEST"),
            ("/v1.0-alpha1/lock/store", good, 501, "ERR_API_UNIMPLEMENTED"),
            ("/v1.0/publish/bulk/default/alerts", good, 400, "ERR_PUBSUB_EVENTS_SER"),
        ]:
            got, answer = await made.call("d", "POST", path, b"{}", **headers)
            assert (got, answer["errorCode"]) == (status, code), path
        assert await made.call("d", "GET", "/v1.0/healthz/outbound") == (204, None)
        got, answer = await made.call("d", "GET", "/v1.0/metadata", **good)
        assert (got, answer["id"]) == (200, f"on-reading-{made.namespace}")
        got, answer = await made.call("d", "POST", "/v1.0/publish/default/alerts", b"x" * (5 << 20), **good)
        assert got == 413

    play(scenario)
