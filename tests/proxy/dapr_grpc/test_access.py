"""Who may call the gRPC API, by which address, with how large a message; and what it costs while nobody does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from dapr.proto.runtime.v1 import dapr_pb2, metadata_pb2, pubsub_pb2
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub

from api.frames import AppListener
from api.meta import Key
from api.model import ApiRule, App
from proxy.dapr import crowd
from proxy.dapr_grpc import listeners
from proxy.dapr_grpc.groups import group_of
from proxy.dapr_grpc.metadata import trace
from tests.proxy.dapr_grpc.site import PLATFORM, SHOP, STORE, Site, until

Metadata = tuple[tuple[str, str], ...]


BUSY = "RESOURCE_EXHAUSTED: the bodies of requests under way take too much memory"
TOO_LARGE = "RESOURCE_EXHAUSTED Received message larger than max"


async def identity(address: str, metadata: Metadata = ()) -> str:
    """What the API takes a caller for; the name of the code where it refuses."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            told = await DaprStub(channel).GetMetadata(metadata_pb2.GetMetadataRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return str(told.id)


def test_a_caller_is_who_its_token_or_its_address_says(tmp_path: Path) -> None:
    mine, theirs = (("dapr-api-token", PLATFORM.token(key)) for key in (SHOP, STORE))
    forged = ("dapr-api-token", PLATFORM.token(SHOP)[:-1] + "x")

    async def scenario() -> None:
        async with Site(tmp_path) as site:
            own, shared = site.own[SHOP], site.shared
            rows: list[tuple[str, Metadata, str]] = [
                (own, (), "shop"),
                (own, (mine,), "shop"),
                (own, (theirs,), "UNAUTHENTICATED"),
                (own, (forged,), "UNAUTHENTICATED"),
                (own, (mine, mine), "UNAUTHENTICATED"),
                (site.own[STORE], (), "store"),
                (shared, (mine,), "shop"),
                (shared, (theirs,), "store"),
                (shared, (), "UNAUTHENTICATED"),
                (shared, (("dapr-api-token", ""),), "UNAUTHENTICATED"),
                (shared, (forged,), "UNAUTHENTICATED"),
                (shared, (mine, theirs), "UNAUTHENTICATED"),
            ]
            for address, metadata, want in rows:
                assert await identity(address, metadata) == want, (address == own, metadata)

    asyncio.run(scenario())


def test_the_socket_behind_the_addresses_is_nobody_s_way_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            assert await identity(site.own[SHOP]) == "shop"
            directory = site.grpc._listeners._directory
            assert directory is not None
            assert directory.stat().st_mode & 0o777 == 0o700
            (server,) = directory.glob("s*")
            assert await identity(f"unix:{server}") == "UNAUTHENTICATED"
            await until(lambda: not site.grpc._listeners._peers)
        assert not directory.exists()

    asyncio.run(scenario())


def test_what_a_killed_proxy_left_is_no_hindrance(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp()) / "dapr.grpc"

    async def scenario() -> None:
        place.mkdir()
        (place / "1").touch()
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(place / f"s{4 << 20}"))
        async with Site(tmp_path, place=place) as site:
            assert await identity(site.own[SHOP]) == "shop"
            assert place.stat().st_mode & 0o777 == 0o700
        assert not place.exists()

    asyncio.run(scenario())
    place.parent.rmdir()


def test_messages_are_limited_app_by_app(tmp_path: Path) -> None:
    small, large = App(key=Key("default", "s"), id="s", max_body=100_000), App(
        key=Key("default", "l"), id="l", max_body=9_000_000
    )  # fmt: skip

    async def publish(address: str, size: int, metadata: Metadata = ()) -> str:
        request = pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="t", data=b"x" * size)
        options = (("grpc.max_send_message_length", -1),)
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            try:
                await DaprStub(channel).PublishEvent(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                said = (error.details() or "").removeprefix("SERVER: ")
                return f"{error.code().name} {said.partition(' (')[0]}"
            return "OK"

    async def scenario() -> None:
        async with Site(tmp_path, apps=(small, large)) as site:
            assert await publish(site.own[small.key], 90_000) == "OK"
            assert await publish(site.own[small.key], 110_000) == TOO_LARGE
            assert await publish(site.own[large.key], 700_000) == "OK"
            token = (("dapr-api-token", PLATFORM.token(small.key)),)
            assert await publish(site.shared, 90_000, token) == "OK"
            assert await publish(site.shared, 110_000, token) == TOO_LARGE
            assert await publish(site.own[large.key], 9_100_000) == TOO_LARGE

    asyncio.run(scenario())


METHODS = [one.name for one in dapr_pb2.DESCRIPTOR.services_by_name["Dapr"].methods]


@pytest.mark.parametrize(
    "method",
    [name for name in METHODS if name.startswith(("Register", "Invoke"))]
    + ["StartWorkflowBeta1", "ConverseAlpha2", "EncryptAlpha1", "ScheduleJob", "TryLockAlpha1", "QueryStateAlpha1"],
)  # fmt: skip
def test_every_method_of_dapr_is_served_or_refused_by_name(tmp_path: Path, method: str) -> None:
    served = {"InvokeService", "InvokeBinding"}

    async def scenario() -> None:
        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            call: Any = channel.stream_stream(f"/dapr.proto.runtime.v1.Dapr/{method}")()
            if method in served:
                await call.write(b"")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            if method in served:
                assert refused.value.code() is not grpc.StatusCode.UNIMPLEMENTED
            else:
                assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
                assert method in (refused.value.details() or "")

    asyncio.run(scenario())


def test_garbage_is_refused_in_one_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            call: Any = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/PublishEvent")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"\xff\xff\xff")
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "the request is no PublishEventRequest" in (refused.value.details() or "")
            foreign: Any = channel.unary_unary("/acme.Shop/Buy")
            with pytest.raises(grpc.aio.AioRpcError) as unnamed:
                await foreign(b"")
            assert unnamed.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "dapr-app-id" in (unnamed.value.details() or "")

    asyncio.run(scenario())


def test_an_address_that_is_taken_is_served_once_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "REBIND", 0.01)

    async def scenario() -> None:
        async with Site(tmp_path) as site:
            holder = socket.create_server(("127.0.0.1", 0))
            where = f"127.0.0.1:{holder.getsockname()[1]}"
            await site.grpc.assign([AppListener(function=SHOP, http="", grpc=where)])
            holder.close()
            await until(lambda: site.grpc._listeners._own[SHOP].listener)
            assert await identity(where) == "shop"
            await site.grpc.assign([])
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*where.split(":"))

    asyncio.run(scenario())


def test_large_messages_pass_at_the_pace_of_the_slower_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            stub = DaprStub(channel)
            requests = [
                pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="t", data=bytes([65 + n]) * 600_000)
                for n in range(20)
            ]
            await asyncio.gather(*(stub.PublishEvent(request) for request in requests))

    asyncio.run(scenario())


def test_nothing_of_grpc_is_there_before_the_first_client() -> None:
    code = """
import asyncio, resource, sys, tempfile
from pathlib import Path
from api.frames import AppListener
from api.meta import Key
from proxy.main import run
from proxy.dapr_grpc.api import GrpcApi
from proxy.dapr.streams import Streams
from api.platform import spare

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

async def main():
    before = rss()
    api = GrpcApi(None, Streams())
    await api.on_address("127.0.0.1", 0)
    apps = [(Key("default", f"f{n}"), f"127.0.0.1:{spare()}") for n in range(200)]
    await api.assign([AppListener(function=key, http="", grpc=where) for key, where in apps])
    assert not api._listeners.started
    print((rss() - before) >> 10)
    await api.stop()

asyncio.run(main())
assert not [name for name in sys.modules if name.split(".")[0] in ("grpc", "dapr", "google")], "imported"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4096  # KiB for 200 apps


def test_the_trace_of_a_call() -> None:
    parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
    assert trace((("traceparent", parent), ("tracestate", "a=1"))) == (parent, "a=1")
    assert trace((("traceparent", parent[:-1]), ("tracestate", "a=1"))) == ("", "")
    assert trace(()) == ("", "")


def test_every_method_is_part_of_the_api_that_dapr_counts_it_to() -> None:
    told = {
        "invoke.v1": ["InvokeService"],
        "state.v1": ["GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState"],
        "state.v1alpha1": ["QueryStateAlpha1"],
        "publish.v1": ["PublishEvent", "BulkPublishEvent"],
        "publish.v1alpha1": ["BulkPublishEventAlpha1"],
        "subscribe.v1alpha1": ["SubscribeTopicEventsAlpha1"],
        "bindings.v1": ["InvokeBinding"],
        "secrets.v1": ["GetSecret", "GetBulkSecret"],
        "actors.v1": ["RegisterActorTimer", "GetActorState", "ExecuteActorStateTransaction", "InvokeActor"],
        "metadata.v1": ["GetMetadata", "SetMetadata"],
        "configuration.v1alpha1": ["GetConfigurationAlpha1", "SubscribeConfigurationAlpha1"],
        "configuration.v1": ["GetConfiguration", "SubscribeConfiguration", "UnsubscribeConfiguration"],
        "lock.v1alpha1": ["TryLockAlpha1"],
        "unlock.v1alpha1": ["UnlockAlpha1"],
        "subtlecrypto.v1alpha1": ["SubtleEncryptAlpha1"],
        "crypto.v1alpha1": ["EncryptAlpha1", "DecryptAlpha1"],
        "workflows.v1beta1": ["StartWorkflowBeta1"],
        "jobs.v1": ["ScheduleJob", "ListJobs"],
        "jobs.v1alpha1": ["DeleteJobsByPrefixAlpha1"],
        "shutdown.v1": ["Shutdown"],
        "conversation.v1alpha2": ["ConverseAlpha2"],
    }  # fmt: skip
    for group, methods in told.items():
        for method in methods:
            assert ".".join(group_of(method)) == group


def test_a_configuration_says_which_apis_an_app_may_call(tmp_path: Path) -> None:
    publishing = ApiRule(name="publish", version="v1", protocol="grpc")
    only = App(key=Key("default", "only"), id="only", protocol="http", allowed_apis=(publishing,))
    never = App(key=Key("default", "never"), id="never", protocol="http", denied_apis=(publishing,))

    async def publish(address: str) -> str:
        async with grpc.aio.insecure_channel(address) as channel:
            try:
                await DaprStub(channel).PublishEvent(
                    pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="t", data=b"1")
                )
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

    async def scenario() -> None:
        async with Site(tmp_path, apps=(only, never)) as site:
            assert await publish(site.own[only.key]) == "OK"
            assert await identity(site.own[only.key]) == "UNIMPLEMENTED"
            assert await publish(site.own[never.key]) == "UNIMPLEMENTED"
            assert await identity(site.own[never.key]) == "never"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\x00" * 100, b"PRI * HTTP"]
)
def test_what_is_no_grpc_is_cut_off_and_others_are_served(tmp_path: Path, garbage: bytes) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            host, port = site.own[SHOP].split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(10):
                await reader.read()
            writer.close()
            assert await identity(site.own[SHOP]) == "shop"
            await until(lambda: not site.grpc._listeners._peers)

    asyncio.run(scenario())


def test_an_address_takes_so_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "CONNECTIONS", 3)

    async def scenario() -> None:
        async with Site(tmp_path) as site:
            host, port = site.own[SHOP].split(":")
            held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
            await until(lambda: len(site.grpc._listeners._own[SHOP].sides) == 3)
            reader, writer = await asyncio.open_connection(host, int(port))
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
            assert await identity(site.own[STORE]) == "store"
            for _, one in held:
                one.close()
            await until(lambda: not site.grpc._listeners._own[SHOP].sides)
            assert await identity(site.own[SHOP]) == "shop"

    asyncio.run(scenario())


def test_an_app_that_floods_is_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "PER_APP_BYTES", 1_000_000)

    async def publish(stub: Any, size: int) -> str:
        try:
            await stub.PublishEvent(pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="t", data=b"x" * size))
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return "OK"

    async def scenario() -> None:
        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            stub = DaprStub(channel)
            assert await publish(stub, 900_000) == "OK"
            assert await publish(stub, 1_100_000) == BUSY
            assert await publish(stub, 900_000) == "OK"  # nothing is held any more
            assert not site.runtime._crowd._bytes

    asyncio.run(scenario())
