"""The control stream on real sockets: full state after every connect, epochs, the cache, the close protocol."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from api.frames import Assign, Config, Endpoints, Hello, Notice, Readings, Reopen, Want
from api.meta import Key
from replicas import wire
from replicas.server import ControlServer
from tests.replicas.control import REVISION, SNAPSHOT, agent, controller, endpoint, until


def test_an_agent_that_connects_gets_the_full_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "control.sock"
        async with controller(path) as server, agent(path, tmp_path / "cache") as (_, handler):
            server.endpoints(REVISION, [endpoint("r1")])
            server.publish(SNAPSHOT)
            server.assign("gateway-0", [Key("default", "s")], [])
            await until(lambda: handler.last(Assign))

            assert handler.last(Config).snapshot == SNAPSHOT
            assert [found.replica for found in handler.last(Endpoints).endpoints] == ["r1"]
            assert handler.last(Assign).subscriptions == (Key("default", "s"),)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    asyncio.run(scenario())


def test_readings_wants_and_notices_reach_the_controller(tmp_path: Path) -> None:
    async def scenario() -> None:
        notices: list[Notice] = []
        changes: list[None] = []
        server = ControlServer(tmp_path / "c", 1, lambda: changes.append(None), notices.append)
        await server.start()
        async with agent(tmp_path / "c", tmp_path / "cache") as (client, _):
            await until(lambda: server.agents)
            client.send(Want(revision=REVISION, waiting=3))
            client.send(Readings(boot_id="b", seq=1, used={"r1": 2}))
            client.send(Notice(namespace="default", function="hello", kind="activation", message="m"))
            await until(lambda: notices)
            state = server.agents["gateway-0"]

            assert state.role == "gateway"
            assert state.readings is not None
            assert state.readings.used == {"r1": 2}
            assert state.wants[REVISION].waiting == 3
            assert len(changes) == 3

            client.send(Readings(boot_id="b", seq=2))
            await until(lambda: not state.wants)  # it was not repeated
            client.send(Readings(boot_id="b", seq=1, used={"late": 1}))
            client.send(Notice(namespace="default", function="hello", kind="activation", message="n"))
            await until(lambda: len(notices) == 2)
            assert state.readings.seq == 2
        await until(lambda: not server.agents)
        await server.stop()

    asyncio.run(scenario())


def test_a_controller_of_a_lower_epoch_is_not_listened_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "control.sock"
        async with agent(path, tmp_path / "cache") as (_, handler):
            async with controller(path, epoch=5) as server:
                server.endpoints(REVISION, [endpoint("new")])
                await until(lambda: handler.last(Endpoints))
            await until(lambda: handler.disconnects == 1)
            async with controller(path, epoch=4) as server:
                await until(lambda: handler.connects == 2)
                server.endpoints(REVISION, [endpoint("old")])
            await until(lambda: handler.disconnects == 2)
            assert handler.last(Endpoints).endpoints[0].replica == "new"
            async with controller(path, epoch=6) as server:
                server.endpoints(REVISION, [endpoint("newest")])
                await until(lambda: handler.last(Endpoints).endpoints[0].replica == "newest")
                assert handler.last(Endpoints).generation == 1  # generations start again with an epoch

    asyncio.run(scenario())


def test_an_agent_started_without_a_controller_acts_on_its_cache(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, cache = tmp_path / "control.sock", tmp_path / "cache"
        async with controller(path) as server, agent(path, cache) as (_, handler):
            server.endpoints(REVISION, [endpoint("r1")])
            server.publish(SNAPSHOT)
            await until(lambda: handler.last(Config))
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in cache.iterdir())
        (cache / "broken.json").write_bytes(b"{")

        async with agent(path, cache) as (client, handler):
            await until(lambda: handler.last(Endpoints))
            assert not client.connected
            assert handler.last(Config).snapshot == SNAPSHOT
            assert handler.last(Endpoints).endpoints[0].replica == "r1"

            async with controller(path, epoch=2) as server:
                server.publish(SNAPSHOT)  # nobody reported r1: it is gone
                await until(lambda: handler.last(Endpoints).epoch == 2)
                assert handler.last(Endpoints).endpoints == ()
                assert server.agents["gateway-0"].have == {"default": "sha256:1"}

    asyncio.run(scenario())


def test_close_holds_when_every_agent_says_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c"
        async with (
            controller(path) as server,
            agent(path, tmp_path / "a", "a") as (_, one),
            agent(path, tmp_path / "b", "b") as (_, two),
        ):
            server.endpoints(REVISION, [endpoint("r1"), endpoint("r2")])
            await until(lambda: len(server.agents) == 2 and one.last(Endpoints) and two.last(Endpoints))

            assert await server.close(REVISION, ["r1"], last=False)
            await until(lambda: one.last(Endpoints).generation == server.generation(REVISION))
            assert [found.replica for found in one.last(Endpoints).endpoints] == ["r2"]

            server.endpoints(REVISION, [endpoint("r1"), endpoint("r2")])  # still reported while it is being killed
            server.endpoints(REVISION, [endpoint("r2"), endpoint("r3")])
            await until(lambda: len(two.last(Endpoints).endpoints) == 2)
            assert [found.replica for found in two.last(Endpoints).endpoints] == ["r2", "r3"]

    asyncio.run(scenario())


def test_one_refusal_or_silence_reopens(tmp_path: Path) -> None:
    async def scenario(answer: str) -> None:
        path = tmp_path / answer
        async with (
            controller(path) as server,
            agent(path, tmp_path / "a", "a") as (_, willing),
            agent(path, tmp_path / "b", "b", answer=answer) as (_, other),
        ):
            server.endpoints(REVISION, [endpoint("r1")])
            await until(lambda: len(server.agents) == 2 and willing.last(Endpoints) and other.last(Endpoints))

            assert not await server.close(REVISION, ["r1"], last=True, timeout=10 if answer == "refused" else 0.05)
            await until(lambda: willing.last(Reopen))
            await until(lambda: willing.last(Endpoints).generation == server.generation(REVISION))
            assert willing.last(Endpoints).generation > willing.last(Reopen).generation
            assert [found.replica for found in willing.last(Endpoints).endpoints] == ["r1"]

    asyncio.run(scenario("refused"))
    asyncio.run(scenario("silent"))


def test_an_agent_that_leaves_calls_a_close_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c"
        async with controller(path) as server:
            assert await server.close(REVISION, ["r1"], last=True)  # nobody is there to use it
            async with agent(path, tmp_path / "a", "a", answer="silent") as (_, handler):
                await until(lambda: server.agents)
                closing = asyncio.create_task(server.close(REVISION, ["r2"], last=True, timeout=10))
                await until(lambda: handler.heard)
            assert not await closing
            assert not await server.close(REVISION, ["r2"], last=True)  # it may go on with what it last knew

    asyncio.run(scenario())


def test_unknown_frames_and_fields_are_skipped_and_broken_ones_end_the_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c"
        async with controller(path) as server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(wire.encode(Hello(role="proxy", agent="p", boot_id="1")))
            for body in (b'{"t":"Tomorrow"}', b'{"t":"Readings","boot_id":"1","seq":7,"new":[1]}'):
                writer.write(len(body).to_bytes(4, "big") + body)
            await until(lambda: server.agents and server.agents["p"].readings)
            writer.write((1 << 30).to_bytes(4, "big"))
            assert await reader.read() == b""
            await until(lambda: not server.agents)
            writer.close()

    asyncio.run(scenario())


def test_the_newer_of_two_connections_of_one_agent_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c"
        async with controller(path) as server:
            first, writer = await asyncio.open_unix_connection(path)
            writer.write(wire.encode(Hello(role="proxy", agent="p", boot_id="1")))
            await until(lambda: server.agents)
            _, second = await asyncio.open_unix_connection(path)
            second.write(wire.encode(Hello(role="proxy", agent="p", boot_id="2")))
            assert await first.read() == b""
            assert server.agents["p"].boot_id == "2"
            writer.close()
            second.close()

    asyncio.run(scenario())


def test_our_own_user_is_recognised() -> None:
    import socket

    left, right = socket.socketpair()
    assert wire.same_user(left)
    assert os.getuid() >= 0
    left.close()
    right.close()


def test_an_agent_that_hangs_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stands still keeps its socket open: only its silence tells."""
    monkeypatch.setattr("replicas.server.SILENCE", 0.1)

    async def scenario() -> None:
        async with controller(tmp_path / "s") as server, agent(tmp_path / "s", tmp_path / "c") as (_, handler):
            await until(lambda: server.agents)
            await until(lambda: handler.disconnects)
            await until(lambda: handler.connects > 1)

    asyncio.run(scenario())
