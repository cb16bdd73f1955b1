"""Dapr's unmodified Python SDK where it uses HTTP: health before anything else, and service invocation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprInternalError

from tests.proxy.dapr_grpc.site import variables
from tests.proxy.dapr_http.site import PLATFORM, SHOP, STORE, Seen, Site, revision

T = TypeVar("T")


async def sdk(site: Site, work: Callable[[DaprClient], T], token: str = "") -> T:
    """Run *work*, which blocks, with the environment of a replica of ``shop``."""
    told = {
        "DAPR_HTTP_ENDPOINT": f"http://{site.address}",
        "DAPR_HTTP_PORT": site.address.rpartition(":")[2],
        "DAPR_API_TOKEN": token or PLATFORM.token(SHOP),
        "DAPR_HEALTH_TIMEOUT": "5",
    }

    def run() -> T:
        asyncio.set_event_loop(None)
        try:
            with DaprClient() as client:
                return work(client)
        finally:
            with contextlib.suppress(RuntimeError):  # none was made
                asyncio.get_event_loop().close()  # the SDK makes one for HTTP calls, and leaves it open

    with variables(told):
        return await asyncio.to_thread(run)


def test_invoke_method(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:

            async def answer(seen: Seen) -> tuple[int, bytes]:
                return (200, b"told " + seen.body) if seen.target.startswith("/orders") else (404, b"nothing here")

            store = await site.app(STORE, answer)

            def invoke(client: DaprClient) -> str:
                query = (("x", "1"),)
                made = client.invoke_method(
                    "store", "orders/1", data="A-1", content_type="text/plain", http_verb="PUT", http_querystring=query
                )
                return made.text()

            assert await sdk(site, invoke) == "told A-1"
            (seen,) = store.seen
            assert (seen.method, seen.target, seen.headers["dapr-caller-app-id"]) == ("PUT", "/orders/1?x=1", "shop")

            for app_id, method in (("store", "none"), ("nobody", "m")):
                with pytest.raises(DaprInternalError):
                    await sdk(site, lambda client, to=app_id, m=method: client.invoke_method(to, m, data="x"))  # type: ignore[misc]  # bound now
            assert site.runtime.calls.readings()[0].revision == revision(STORE)

    asyncio.run(scenario())
