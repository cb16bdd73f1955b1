"""Service invocation over gRPC: InvokeService to apps of both protocols, and foreign services told on as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import appcallback_pb2_grpc, invoke_pb2
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # it ships none
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships none

from api.frames import Endpoint, Endpoints
from api.meta import Key, RevisionKey
from api.model import App, Backend, Route
from tests.proxy.dapr_grpc.site import SHOP, STORE, Site

WEB = Key("default", "web")
APPS = (
    App(key=SHOP, id="shop", protocol="http"),
    App(key=STORE, id="store", protocol="grpc", token="of the app"),
    App(key=WEB, id="web", protocol="http"),
)


class Callback(appcallback_pb2_grpc.AppCallbackServicer):
    """A gRPC app, and a service of its own beside Dapr's."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.requests: list[common_pb2.InvokeRequest] = []

    async def OnInvoke(self, request: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        self.requests.append(request)
        if request.method == "fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today", (("why", "closed"),))
        await context.send_initial_metadata((("shelf", "7"),))
        return common_pb2.InvokeResponse(data=request.data, content_type="text/x-shelf")


class Echo(grpc.GenericRpcHandler):
    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        if kind == "Chat":
            return grpc.stream_stream_rpc_method_handler(self._chat)
        if kind == "Count":
            return grpc.unary_stream_rpc_method_handler(self._count)
        return grpc.unary_unary_rpc_method_handler(self._one) if kind == "One" else None

    async def _one(self, request: bytes, context: Any) -> bytes:
        self._callback.metadata = dict(context.invocation_metadata())
        if request == b"fail":
            status = Status(code=9, message="no")
            info = AnyMessage()
            info.Pack(ErrorInfo(reason="SOLD_OUT", domain="shop.example"))
            status.details.append(info)
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no", trailing)
        context.set_trailing_metadata((("aisle", "3"),))
        return request[::-1]

    async def _count(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for n in range(int(request)):
            yield b"%d" % n

    async def _chat(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()


async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP app that says what it was sent; ``/teapot`` says no."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            body = await reader.readexactly(int(fields.get(b"content-length", 0)))
            line = head.partition(b"\r\n")[0]
            status = b"418 I'm a teapot" if b"/teapot" in line else b"404 Not Found" if b"/none" in line else b"200 OK"
            answer = b"|".join([line, fields.get(b"content-type", b""), fields.get(b"mine", b""), body])
            fixed = b"content-type: text/x-web\r\nshelf: 9\r\ncache-control: none"
            writer.write(b"HTTP/1.1 %b\r\n%b\r\ncontent-length: %d\r\n\r\n%b" % (status, fixed, len(answer), answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


@asynccontextmanager
async def street(directory: Path) -> AsyncIterator[tuple[Site, Callback]]:
    """A site with one replica of each app that is called."""
    callback = Callback()
    server = grpc.aio.server()
    appcallback_pb2_grpc.add_AppCallbackServicer_to_server(callback, server)
    server.add_generic_rpc_handlers((Echo(callback),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    http = await asyncio.start_server(web, "127.0.0.1", 0)
    places = {STORE: ("grpc", port), WEB: ("http", http.sockets[0].getsockname()[1])}
    async with Site(directory, apps=APPS) as site:
        revisions = {key: RevisionKey(key.namespace, key.name, "00001") for key in (STORE, WEB)}
        routes = tuple(Route(key=key, backends=(Backend(revision=one),)) for key, one in revisions.items())
        site.declare(routes=routes)
        for key, (protocol, number) in places.items():
            endpoint = Endpoint(replica=key.name, address=f"127.0.0.1:{number}", credit=10, protocol=protocol)  # type: ignore[arg-type]  # a literal
            site.wiring.table.update(Endpoints(epoch=1, revision=revisions[key], generation=1, endpoints=(endpoint,)))
        try:
            yield site, callback
        finally:
            await server.stop(None)
            http.close()


OVER_GRPC = {"DAPR_API_METHOD_INVOCATION_PROTOCOL": "grpc"}


def stub(channel: Any) -> Any:
    return DaprStub(channel).InvokeService


def request(app: str, method: str, data: bytes = b"hello", **more: Any) -> Any:
    message = common_pb2.InvokeRequest(method=method, data=AnyMessage(value=data), content_type="text/plain", **more)
    return invoke_pb2.InvokeServiceRequest(id=app, message=message)


@pytest.mark.filterwarnings("ignore:invoke_method with protocol gRPC:DeprecationWarning")  # it is what we test
def test_the_sdk_calls_apps_of_both_protocols(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with street(tmp_path) as (site, callback):

            def work() -> None:
                from dapr.clients.grpc.client import DaprGrpcClient

                with DaprGrpcClient() as client:
                    answer = client.invoke_method("store", "order", b"milk", content_type="text/plain")
                    assert (answer.data, answer.content_type) == (b"milk", "text/x-shelf")
                    assert answer.headers["shelf"] == ["7"]
                    answer = client.invoke_method(
                        "web", "a/b", b"x", content_type="text/plain", http_verb="PUT", http_querystring=(("q", "1"),)
                    )
                    assert (answer.data, answer.content_type) == (b"PUT /a/b?q=1 HTTP/1.1|text/plain||x", "text/x-web")
                    assert answer.headers["shelf"] == ["9"]
                    assert answer.headers["dapr-http-status"] == ["200"]
                    assert answer.headers["dapr-cache-control"] == ["none"]

            await site.sdk(work, environment=OVER_GRPC)
            assert callback.metadata["dapr-api-token"] == "of the app"
            assert callback.metadata["dapr-caller-app-id"] == "shop"
            (asked,) = callback.requests
            assert (asked.method, asked.content_type, asked.data.value) == ("order", "text/plain", b"milk")

    asyncio.run(scenario())


def test_a_packed_message_stays_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with street(tmp_path) as (site, callback), grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            packed = AnyMessage()
            packed.Pack(StringValue(value="milk"))
            message = common_pb2.InvokeRequest(method="order", data=packed)
            answer = await stub(channel)(invoke_pb2.InvokeServiceRequest(id="store", message=message))
            told = StringValue()
            assert answer.data.Unpack(told)
            assert told.value == "milk"
            assert callback.requests[0].data.type_url == packed.type_url

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("app", "method", "code", "message"),
    [
        ("store", "fail", "FAILED_PRECONDITION", "not today"),
        ("web", "teapot", "UNKNOWN", "I'm a Teapot"),
        ("web", "none", "NOT_FOUND", "Not Found"),
        ("nobody", "x", "INTERNAL", "failed to invoke, id: nobody"),
        ("", "x", "NOT_FOUND", "failed getting app id"),
        ("web.other", "x", "PERMISSION_DENIED", "failed to invoke, id: web.other"),
        ("../x", "x", "INVALID_ARGUMENT", "'../x' is no app id"),
    ],
)
def test_what_goes_wrong_is_told_with_its_status(
    tmp_path: Path, app: str, method: str, code: str, message: str
) -> None:
    async def scenario() -> None:
        async with street(tmp_path) as (site, _), grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub(channel)(request(app, method))
            assert refused.value.code().name == code
            assert (refused.value.details() or "").startswith(message)
            trailing = dict(refused.value.trailing_metadata() or ())
            if app == "store":
                assert trailing["why"] == "closed"
            if app == "web":
                info = ErrorInfo()
                status = Status.FromString(trailing["grpc-status-details-bin"])
                assert status.details[0].Unpack(info)
                assert info.metadata["http.code"] == {"teapot": "418", "none": "404"}[method]
                assert info.metadata["http.error_message"].startswith(f"POST /{method} HTTP/1.1|text/plain")

    asyncio.run(scenario())


def test_foreign_services_are_told_on_in_both_directions(tmp_path: Path) -> None:
    metadata = (("dapr-app-id", "store"), ("mine", "1"), ("some-bin", b"\x00\x01"))

    async def scenario() -> None:
        async with street(tmp_path) as (site, callback), grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            one: Any = channel.unary_unary("/acme.Shop/One")
            call = one(b"abc", metadata=metadata)
            assert await call == b"cba"
            assert dict(await call.trailing_metadata())["aisle"] == "3"
            told = callback.metadata
            assert (told["mine"], told["some-bin"], told["dapr-api-token"]) == ("1", b"\x00\x01", "of the app")
            assert (told["dapr-caller-app-id"], told["dapr-callee-app-id"]) == ("shop", "store")
            assert "dapr-app-id" not in told

            counting: Any = channel.unary_stream("/acme.Shop/Count")
            assert [part async for part in counting(b"100", metadata=metadata)] == [b"%d" % n for n in range(100)]

            chat: Any = channel.stream_stream("/acme.Shop/Chat")
            talk = chat(metadata=metadata)
            for word in (b"a", b"b", b"c"):
                await talk.write(word)
                assert await talk.read() == word.upper()
            await talk.done_writing()
            assert await talk.read() is grpc.aio.EOF
            assert await talk.code() is grpc.StatusCode.OK

            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await one(b"fail", metadata=metadata)
            assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no")
            details = dict(refused.value.trailing_metadata() or ())["grpc-status-details-bin"]
            assert b"SOLD_OUT" in details

            missing: Any = channel.unary_unary("/acme.Shop/Missing")
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await missing(b"", metadata=metadata)
            assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED

            with pytest.raises(grpc.aio.AioRpcError) as over_http:
                await one(b"", metadata=(("dapr-app-id", "web"),))
            assert over_http.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "serves HTTP" in (over_http.value.details() or "")
            with pytest.raises(grpc.aio.AioRpcError) as nobody:
                await one(b"", metadata=(("dapr-app-id", "nobody"),))
            assert "nobody" in (nobody.value.details() or "")

    asyncio.run(scenario())


def test_a_caller_that_leaves_ends_the_call_at_the_app(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with street(tmp_path) as (site, _), grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            chat: Any = channel.stream_stream("/acme.Shop/Chat")
            talk = chat(metadata=(("dapr-app-id", "store"),))
            await talk.write(b"a")
            assert await talk.read() == b"A"
            assert site.wiring.table.used() == {"store": 1}
            talk.cancel()
            async with asyncio.timeout(5):
                await site.wiring.table.drained(["store"])

    asyncio.run(scenario())
