"""What the proxy tells the controller of calls between apps, and where it serves apps; the test is the controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from api.frames import AppListener, Close, Closed, Config, Endpoint, Endpoints, Frame, Listen, Readings, Refused, Want
from api.meta import Key, RevisionKey
from api.model import App, Backend, Component, Route, Snapshot
from proxy.agent import ProxyAgent
from proxy.dapr.caller import Caller
from proxy.settings import ProxySettings
from proxy.wiring import Wiring
from replicas.apps.connect import Apps
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.proxy.dapr_http.site import AppServer
from tests.proxy.plant import until

STORE = Key("default", "store")
REVISION = RevisionKey("default", "store", "00001")
SNAPSHOT = Snapshot(
    namespace="default",
    apps=(App(key=Key("default", "shop"), id="shop", protocol="http"), App(key=STORE, id="store", protocol="http")),
    routes=(Route(key=STORE, backends=(Backend(revision=REVISION),), internal=True),),
    components=(Component(key=Key("default", "db"), type="state.nothing", version="v1"),),
)
LISTENERS = (AppListener(function=STORE, http="127.0.0.1:1", grpc="127.0.0.1:2"),)


@asynccontextmanager
async def agent(directory: Path, frames: list[Frame], *, connected: bool = True) -> AsyncIterator[ProxyAgent]:
    http = HttpClient()
    wiring = Wiring(
        http=http,
        apps=Apps(http),
        table=ReplicaTable(),
        send=frames.append,
        changed=lambda: made.touch(),  # noqa: PLW0108 - each needs the other
    )
    settings = ProxySettings(control=directory / "control", cache=directory / "cache")
    made = ProxyAgent(settings, "boot", wiring, lambda: connected)
    try:
        yield made
    finally:
        await made.release()
        await made.close()
        await wiring.apps.aclose()
        await http.aclose()


def last(frames: list[Frame], kind: type[Any]) -> Any:
    return next((frame for frame in reversed(frames) if isinstance(frame, kind)), None)


def play(directory: Path, scenario: Callable[[ProxyAgent, list[Frame]], Awaitable[None]]) -> None:
    async def whole() -> None:
        frames: list[Frame] = []
        async with agent(directory, frames) as made:
            made.on_config(Config(epoch=1, snapshot=SNAPSHOT))
            await scenario(made, frames)

    asyncio.run(whole())


def test_a_waiting_call_wakes_counts_and_keeps_the_last_replica(tmp_path: Path) -> None:
    async def scenario(made: ProxyAgent, frames: list[Frame]) -> None:
        release = asyncio.Event()

        async def slow(_seen: Any) -> tuple[int, bytes]:
            await release.wait()
            return 200, b"done"

        caller = Caller(SNAPSHOT.apps[0])
        first, second = (
            asyncio.create_task(made.runtime.invoke(caller, "store", "m", "GET")) for _ in range(2)
        )  # fmt: skip
        await until(lambda: last(frames, Want))
        assert last(frames, Want).revision == REVISION
        await until(lambda: last(frames, Readings) and last(frames, Readings).routes)
        await until(lambda: last(frames, Readings).routes[0].waiting == 2)

        server = await AppServer(slow).start()
        endpoint = Endpoint(replica="r1", address=server.address, credit=1, protocol="http")
        made.on_endpoints(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint,)))
        await until(lambda: len(server.seen) == 1)
        await until(lambda: last(frames, Readings).routes[0].in_flight == 1)
        assert last(frames, Readings).used == {"r1": 1}
        close = Close(epoch=1, revision=REVISION, generation=2, replicas=("r1",), last=True)
        made.on_close(close)
        assert last(frames, Refused).held == 2  # one runs, one waits

        release.set()
        for call in (first, second):
            answered = await call
            assert (answered.status, await answered.read(100)) == (200, b"done")
        made.on_close(close)
        await until(lambda: last(frames, Closed))
        assert last(frames, Closed).replicas == ("r1",)
        await server.stop()

    play(tmp_path, scenario)


def test_what_components_and_their_readings_say(tmp_path: Path) -> None:
    async def scenario(made: ProxyAgent, frames: list[Frame]) -> None:
        made.report()
        assert (
            last(frames, Readings).components == ()
        )  # a type that does not exist lives nowhere; the controller says so
        assert made.runtime.ready

    play(tmp_path, scenario)


def test_addresses_of_apps_outlive_the_controller(tmp_path: Path) -> None:
    async def scenario(made: ProxyAgent, _frames: list[Frame]) -> None:
        told: list[Any] = []
        made.on_apps.append(told.append)
        made.on_listen(Listen(epoch=1, apps=LISTENERS))
        assert told == [LISTENERS]
        again: list[Any] = []
        async with agent(tmp_path, [], connected=False) as restarted:
            restarted.on_apps.append(again.append)
            restarted.on_config(Config(epoch=1, snapshot=SNAPSHOT))
        assert again == [LISTENERS]

    play(tmp_path, scenario)


def test_output_of_an_app_goes_to_its_binding(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    folder = Component(
        key=Key("default", "folder"), type="bindings.localstorage", version="v1", metadata={"rootPath": str(files)}
    )

    async def scenario(made: ProxyAgent, _frames: list[Frame]) -> None:
        snapshot = Snapshot(namespace="default", apps=SNAPSHOT.apps, components=(folder,))
        made.on_config(Config(epoch=1, snapshot=snapshot))
        await made.bind(STORE, "folder", b"so it is")
        assert [file.read_bytes() for file in files.iterdir()] == [b"so it is"]

    play(tmp_path, scenario)
