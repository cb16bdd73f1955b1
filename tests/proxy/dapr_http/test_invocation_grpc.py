"""HTTP callers of a gRPC app: OnInvoke, and what its statuses are over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from dapr.proto.common.v1 import common_pb2

from api.frames import Endpoint, Endpoints
from tests.proxy.dapr_http.site import PLATFORM, SHOP, STORE, Site, revision
from tests.replicas.apps import Callbacks, GrpcServer


class Invoked(Callbacks):
    """Answers OnInvoke with its data, or aborts where the method is the name of a status."""

    async def OnInvoke(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if hasattr(grpc.StatusCode, request.method):
            await context.abort(getattr(grpc.StatusCode, request.method), "told so")
        await context.send_initial_metadata((("x-back", "1"),))
        return common_pb2.InvokeResponse(data=request.data, content_type="text/x-answer")


def test_calls_of_a_grpc_app(tmp_path: Path) -> None:
    async def scenario() -> None:
        callbacks = Invoked()
        async with GrpcServer(callbacks) as app, Site(tmp_path) as site:
            endpoint = Endpoint(replica="store-1", address=app.address, credit=8, protocol="grpc")
            site.wiring.table.update(Endpoints(epoch=1, revision=revision(STORE), generation=1, endpoints=(endpoint,)))
            sent = [("content-type", "application/json"), ("x-own", "1")]
            answer = await site.call("PUT", "/v1.0/invoke/store/method/orders/1?x=1", b'{"n":1}', sent)
            assert (answer.status, answer.body) == (200, b'{"n":1}')
            assert (answer.headers["content-type"], answer.headers["x-back"]) == ("text/x-answer", "1")
            (request,), (metadata,) = callbacks.requests, callbacks.metadata
            assert (request.method, request.content_type) == ("orders/1", "application/json")
            extension = request.http_extension
            assert (extension.Verb.Name(extension.verb), extension.querystring) == ("PUT", "x=1")
            assert (metadata["x-own"], metadata["dapr-caller-app-id"]) == ("1", "shop")
            assert metadata["dapr-api-token"] == "s3cret"

            for name, status in [
                ("NOT_FOUND", 404),
                ("INVALID_ARGUMENT", 400),
                ("INTERNAL", 500),
                ("UNAVAILABLE", 503),
            ]:
                answer = await site.call("GET", f"/v1.0/invoke/store/method/{name}")
                assert answer.status == status
                assert answer.json == {"code": name, "message": "told so"}

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(3):
                    yield b"x" * 100_000

            token = [(b"dapr-api-token", PLATFORM.token(SHOP).encode())]
            path = "/v1.0/invoke/store/method/m"
            reply = await site.client.request(site.address, "POST", path, token, chunks(), timeout=10)
            assert (reply.status, len(await reply.read(1 << 20))) == (200, 300_000)

    asyncio.run(scenario())
