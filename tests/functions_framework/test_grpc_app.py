"""AppCallback over a real channel: what a handler sees, and what its answer becomes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest
from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from dapr.proto.runtime.v1 import appcallback_pb2_grpc as services
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2

from api.platform import LOOPBACK, spare
from functions_framework import grpc_app
from functions_framework.app import App
from tests.functions_framework.harness import app, write

ECHO = """
    import json
    import functions_framework as ff

    SEEN = []

    @ff.cloud_event
    async def on(event):
        SEEN.append((dict(event), event.data))
        if event.data == "reject":
            raise ff.Reject("no")
        if event.data == "raise":
            raise RuntimeError("boom")
"""
CONTEXT = {
    "name": "f",
    "triggers": {"dapr": [{"name": "bus", "type": "pubsub", "topic": "orders"}]},
    "inputs": {"tick": {"componentName": "tick", "componentType": "bindings.cron"}},
}
NONE = empty_pb2.Empty()
SUCCESS, RETRY, DROP = 0, 1, 2


def served(application: App, work: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run *work* with a stub of AppCallback, and the channel."""

    async def running() -> Any:
        server, port = await grpc_app.start(application, LOOPBACK, 0)
        try:
            async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
                return await work(services.AppCallbackStub(channel), channel)
        finally:
            assert await grpc_app.drain(application, server) == 0

    return asyncio.run(running())


def event(data: bytes = b'{"n": 1}', kind: str = "application/json", **extensions: Any) -> messages.TopicEventRequest:
    return messages.TopicEventRequest(
        id="1",
        source="shop",
        type="order",
        spec_version="1.0",
        data_content_type=kind,
        data=data,
        topic="orders",
        pubsub_name="bus",
        path="/",
        extensions=json_format.ParseDict(extensions, struct_pb2.Struct()),
    )


def seen(application: App) -> list[tuple[dict[str, Any], Any]]:
    found: list[tuple[dict[str, Any], Any]] = application.loaded.module.SEEN
    return found


@pytest.mark.parametrize(
    ("sent", "kind", "data"),
    [
        (b'{"n": 12345678901234567890.5}', "application/json", {"n": 12345678901234567890.5}),
        (b"7", "application/vnd.x+json; charset=utf-8", 7),
        (b"{", "application/json", b"{"),
        ("grüß".encode(), "text/plain", "grüß"),
        (b"\xff", "text/plain", b"\xff"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
        (b"", "application/json", None),
    ],
)
def test_data_arrive_by_their_content_type(tmp_path, sent, kind, data):
    application = app(tmp_path, ECHO)

    async def work(stub: Any, _channel: Any) -> Any:
        return await stub.OnTopicEvent(event(sent, kind, topic="original", traceid="t", count=3))

    assert served(application, work).status == SUCCESS
    [(attributes, got)] = seen(application)
    assert (got, type(got)) == (data, type(data))
    assert attributes == {
        "id": "1",
        "source": "shop",
        "type": "order",
        "specversion": "1.0",
        "datacontenttype": kind,
        "topic": "original",
        "pubsubname": "bus",
        "traceid": "t",
        "count": 3,
    }


def test_data_of_a_kind_that_daprd_does_not_know(tmp_path):
    application = app(tmp_path, ECHO)

    async def work(stub: Any, _channel: Any) -> Any:
        await stub.OnTopicEvent(event(b"", "foo/bar", data_base64="AQI="))

    served(application, work)
    assert [data for _, data in seen(application)] == [b"\x01\x02"]


def test_outcomes_become_statuses(tmp_path):
    application = app(tmp_path, ECHO)

    async def work(stub: Any, _channel: Any) -> Any:
        rejected = await stub.OnTopicEvent(event(b"reject", "text/plain"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.OnTopicEvent(event(b"raise", "text/plain"))
        with pytest.raises(grpc.aio.AioRpcError) as malformed:
            await stub.OnTopicEvent(messages.TopicEventRequest(path="/"))
        return rejected.status, failed.value.code(), malformed.value.code()

    assert served(application, work) == (DROP, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize("name", ["OnBulkTopicEvent", "OnBulkTopicEventAlpha1"])
def test_bulk_gives_each_entry_its_status(tmp_path, name):
    application = app(tmp_path, ECHO)
    whole = messages.TopicEventCERequest(
        id="a", source="s", type="t", spec_version="1.0", data_content_type="text/plain", data=b"fine"
    )
    bad = messages.TopicEventCERequest(id="b", source="s", type="t", data_content_type="text/plain", data=b"reject")
    entry = messages.TopicEventBulkRequestEntry
    request = messages.TopicEventBulkRequest(
        id="bulk",
        topic="orders",
        pubsub_name="bus",
        path="/",
        entries=[
            entry(entry_id="1", cloud_event=whole, content_type="application/cloudevents+json"),
            entry(entry_id="2", cloud_event=bad, content_type="application/cloudevents+json"),
            entry(entry_id="3", bytes=b"plain", content_type="text/plain"),
        ],
    )

    async def work(stub: Any, channel: Any) -> Any:
        older = services.AppCallbackAlphaStub(channel)
        return await getattr(older if name.endswith("Alpha1") else stub, name)(request)

    answer = served(application, work)
    assert {one.entry_id: one.status for one in answer.statuses} == {"1": SUCCESS, "2": DROP, "3": SUCCESS}
    assert sorted(str(data) for _, data in seen(application)) == ["fine", "plain", "reject"]


def test_it_tells_what_the_context_declares(tmp_path):
    application = app(tmp_path, ECHO, environ={"FUNC_CONTEXT": json.dumps(CONTEXT)})

    async def work(stub: Any, channel: Any) -> Any:
        await services.AppCallbackHealthCheckStub(channel).HealthCheck(NONE)
        return await stub.ListTopicSubscriptions(NONE), await stub.ListInputBindings(NONE)

    topics, bound = served(application, work)
    [one] = topics.subscriptions
    assert (one.pubsub_name, one.topic, one.routes.default) == ("bus", "orders", "/")
    assert (one.bulk_subscribe.enabled, one.bulk_subscribe.max_messages_count) == (True, 100)
    assert list(bound.bindings) == ["tick"]


def test_a_request_of_another_app(tmp_path):
    source = """
        import functions_framework as ff

        @ff.http
        def hello(request):
            if request.path == "/missing":
                return "not here", 404
            given = request.get_json()
            return {"verb": request.method, "path": request.path, "n": request.args.get("n"), "body": given}
    """
    application = app(tmp_path, source)

    def request(method: str) -> common.InvokeRequest:
        return common.InvokeRequest(
            method=method,
            data=any_pb2.Any(value=b'{"a": 1}'),
            content_type="application/json",
            http_extension=common.HTTPExtension(verb="PUT", querystring="n=5"),
        )

    async def work(stub: Any, _channel: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await stub.OnInvoke(request("missing"))
        return await stub.OnInvoke(request("greet/me")), missing.value.code()

    reply, missing = served(application, work)
    assert json.loads(reply.data.value) == {"verb": "PUT", "path": "/greet/me", "n": "5", "body": {"a": 1}}
    assert reply.content_type == "application/json"
    assert missing is grpc.StatusCode.UNIMPLEMENTED


def test_the_command_serves_grpc_and_drains(tmp_path):
    path, port = write(tmp_path, ECHO), spare()
    words = ["-m", "functions_framework.command", "--source", str(path), "--host", LOOPBACK]
    environ = {**os.environ, "APP_PORT": str(port), "APP_PROTOCOL": "grpc"}
    environ.pop("PORT", None)
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "grpc://" in line)
            assert f"on (cloud_event, async) on grpc://{LOOPBACK}:{port}" in line

            async def ask() -> Any:
                async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
                    return await services.AppCallbackStub(channel).OnTopicEvent(event())

            assert asyncio.run(ask()).status == SUCCESS
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_taken_port_is_one_line(tmp_path):
    path = write(tmp_path, ECHO)
    words = ["-m", "functions_framework.command", "--source", str(path), "--host", LOOPBACK, "--protocol", "grpc"]
    with socket.create_server((LOOPBACK, 0)) as taken:
        words += ["--port", str(taken.getsockname()[1])]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr.splitlines()[-1]
