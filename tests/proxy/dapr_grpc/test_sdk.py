"""The unmodified Python SDK against the gRPC API: every call of DaprClient that the API serves, sync and async."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # it ships none
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships none

from tests.proxy.dapr_grpc.site import BUS, SHOP, Site, component

STATE = component("state.in-memory", "state")
SQLITE = component("state.sqlite", "sqlite", {"connectionString": ":memory:"})


def secrets(directory: Path) -> Any:
    file = directory / "secrets.json"
    file.write_text(json.dumps({"password": "p", "nested": {"a": "1", "b": "2"}}))
    return component("secretstores.local.file", "vault", {"secretsFile": str(file)})


async def stored(site: Site, topic: str, count: int) -> list[dict[str, Any]]:
    """The first *count* events of a topic."""
    bus = site.buses.get(BUS)
    assert bus is not None
    found = []
    async with asyncio.timeout(5):
        async for one in bus.tail(topic, since=None):
            found.append(json.loads(one.payload))
            if len(found) == count:
                break
    return found


def test_events_are_published_with_the_envelope_of_dapr(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            listening = asyncio.ensure_future(stored(site, "orders", 4))
            await asyncio.sleep(0)

            def work() -> None:
                with DaprClient() as client:
                    client.publish_event("events", "orders", json.dumps({"n": 1}), data_content_type="application/json")
                    client.publish_event("events", "orders", "text")
                    client.publish_event("events", "orders", b"\x00\x01", data_content_type="application/octet-stream")
                    client.publish_event(
                        "events", "orders", "x", publish_metadata={"cloudevent.id": "mine", "cloudevent.type": "t"}
                    )

            await site.sdk(work)
            first, second, third, fourth = await listening
            assert first["data"] == {"n": 1}
            # an app's model of an event may ask for the trace attributes: Dapr always sets them
            assert first["traceid"] == first["traceparent"]
            assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", first["traceparent"])
            assert first | dict.fromkeys(("id", "time", "data", "traceid", "traceparent"), "") == {
                "id": "", "time": "", "data": "", "specversion": "1.0", "source": "shop", "type": "com.dapr.event.sent",
                "topic": "orders", "pubsubname": "events", "datacontenttype": "application/json",
                "traceid": "", "traceparent": "", "tracestate": "",
            }  # fmt: skip
            assert (second["data"], second["datacontenttype"]) == ("text", "text/plain")
            assert third["data_base64"] == "AAE="
            assert (fourth["id"], fourth["type"]) == ("mine", "t")

    asyncio.run(scenario())


def test_a_bulk_publish_names_the_entries_that_failed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:

            def work() -> None:
                with DaprClient() as client:
                    assert client.publish_events("events", "orders", [f"{n}" for n in range(100)]).failed_entries == []
                    with pytest.raises(DaprGrpcError, match="pubsub other is not found"):
                        client.publish_events("other", "orders", ["1"])

            await site.sdk(work)

            def raw() -> None:
                from dapr.proto.runtime.v1 import pubsub_pb2
                from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub

                entries = [
                    pubsub_pb2.BulkPublishRequestEntry(
                        entry_id=str(n), event=b"1", content_type="text/plain",
                        metadata={"ttlInSeconds": "soon"} if n == 7 else {},
                    )
                    for n in range(20)
                ]  # fmt: skip
                request = pubsub_pb2.BulkPublishRequest(pubsub_name="events", topic="orders", entries=entries)
                with grpc.insecure_channel(site.own[SHOP]) as channel:
                    for method in ("BulkPublishEvent", "BulkPublishEventAlpha1"):
                        answer = getattr(DaprStub(channel), method)(request)
                        assert [one.entry_id for one in answer.failedEntries] == ["7"]
                        assert "ttlInSeconds" in answer.failedEntries[0].error
                    twice = pubsub_pb2.BulkPublishRequest(
                        pubsub_name="events", topic="orders", entries=[entries[0], entries[0]]
                    )
                    with pytest.raises(grpc.RpcError) as refused:
                        DaprStub(channel).BulkPublishEvent(twice)
                    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]  # of a call
                    assert "entryId is duplicated" in refused.value.details()  # type: ignore[attr-defined]  # of a call

            await site.sdk(raw)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("pubsub", "topic", "message", "reason"),
    [
        ("other", "t", "pubsub other is not found", "DAPR_PUBSUB_NOT_FOUND"),
        ("", "t", "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY"),
        ("events", "", "topic is empty in pubsub events", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
    ],
)
def test_a_refused_publish_carries_the_details_of_dapr(
    tmp_path: Path, pubsub: str, topic: str, message: str, reason: str
) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:

            def work() -> None:
                from dapr.proto.runtime.v1 import pubsub_pb2
                from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub

                with grpc.insecure_channel(site.own[SHOP]) as channel, pytest.raises(grpc.RpcError) as refused:
                    DaprStub(channel).PublishEvent(pubsub_pb2.PublishEventRequest(pubsub_name=pubsub, topic=topic))
                error: Any = refused.value
                assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, message)
                (packed,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
                status = Status.FromString(packed)
                info = ErrorInfo()
                assert status.details[-1].Unpack(info)
                assert (status.code, status.message, info.domain, info.reason) == (3, message, "dapr.io", reason)

            await site.sdk(work)

    asyncio.run(scenario())


@pytest.mark.parametrize("store", ["state", "sqlite"])
def test_state_with_etags_bulk_and_transactions(tmp_path: Path, store: str) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, components=[STATE, SQLITE]) as site:
            await site.sdk(lambda: exercise(store))

    def exercise(store: str) -> None:
        with DaprClient() as client:
            assert client.get_state(store, "a").data == b""
            client.save_state(store, "a", "1")
            first = client.get_state(store, "a")
            assert (first.data, bool(first.etag)) == (b"1", True)
            client.save_state(store, "a", "2", etag=first.etag)
            with pytest.raises(DaprGrpcError) as mismatch:
                client.save_state(store, "a", "3", etag=first.etag)
            assert mismatch.value.code() is grpc.StatusCode.ABORTED
            assert mismatch.value.error_code() == "DAPR_STATE_ETAG_MISMATCH"
            options = StateOptions(consistency=Consistency.strong, concurrency=Concurrency.first_write)
            with pytest.raises(DaprGrpcError):
                client.save_state(store, "a", "4", options=options)
            client.save_bulk_state(store, [StateItem("b", "b1"), StateItem("c", "c1", metadata={"ttlInSeconds": "60"})])
            found = {item.key: item.data for item in client.get_bulk_state(store, ["a", "b", "c", "d"]).items}
            assert found == {"a": b"2", "b": b"b1", "c": b"c1", "d": b""}
            client.execute_state_transaction(
                store,
                [
                    TransactionalStateOperation(key="e", data="e1"),
                    TransactionalStateOperation(key="b", data="", operation_type=TransactionOperationType.delete),
                ],
            )
            assert client.get_state(store, "e").data == b"e1"
            assert client.get_state(store, "b").data == b""
            with pytest.raises(DaprGrpcError):
                client.delete_state(store, "a", etag=first.etag)
            client.delete_state(store, "a")
            assert client.get_state(store, "a").data == b""
            with pytest.raises(DaprGrpcError) as illegal:
                client.save_state(store, "x||y", "1")
            assert illegal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(DaprGrpcError) as missing:
                client.get_state("nowhere", "a")
            assert missing.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert missing.value.error_code() == "DAPR_STATE_NOT_FOUND"
            with pytest.raises(DaprGrpcError) as query, pytest.warns(UserWarning, match="State Store Query"):
                client.query_state(store, "{}")
            assert query.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(scenario())


def test_secrets(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, components=[secrets(tmp_path)]) as site:

            def work() -> None:
                with DaprClient() as client:
                    assert client.get_secret("vault", "password").secret == {"password": "p"}
                    assert client.get_secret("vault", "nested:a").secret == {"nested:a": "1"}
                    with pytest.raises(grpc.RpcError, match="secret absent not found"):
                        client.get_secret("vault", "absent")
                    assert client.get_bulk_secret("vault").secrets["password"] == {"password": "p"}
                    with pytest.raises(grpc.RpcError) as missing:
                        client.get_secret("nowhere", "password")
                    error: Any = missing.value
                    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

            await site.sdk(work)

    asyncio.run(scenario())


def test_metadata_is_the_apps_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, components=[STATE]) as site:

            def work() -> None:
                with DaprClient() as client:
                    client.set_metadata("colour", "red")
                    told = client.get_metadata()
                    assert told.application_id == "shop"
                    assert told.extended_metadata["colour"] == "red"
                    named = {one.name: one.type for one in told.registered_components}
                    assert named == {"state": "state.in-memory", "events": "pubsub.memory"}
                with DaprClient(address=site.own[SHOP].replace(site.own[SHOP], next(
                    where for key, where in site.own.items() if key != SHOP
                ))) as other:  # fmt: skip
                    assert "colour" not in other.get_metadata().extended_metadata

            await site.sdk(work)

    asyncio.run(scenario())


def test_what_is_out_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:

            def work() -> None:
                from dapr.clients import Job

                with DaprClient() as client:
                    with pytest.warns(UserWarning, match="Distributed Lock"), pytest.raises(grpc.RpcError) as locked:
                        client.try_lock("lock", "resource", "me", 10)
                    error: Any = locked.value
                    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
                    assert "TryLockAlpha1" in error.details()
                    with pytest.raises((grpc.RpcError, DaprGrpcError)) as scheduled:
                        client.schedule_job(Job(name="j", schedule="@every 1s"))
                    assert scheduled.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[union-attr]  # of a call

            await site.sdk(work)

    asyncio.run(scenario())


def test_the_async_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path, components=[STATE, secrets(tmp_path)]) as site:

            def work() -> None:
                asyncio.run(calls())

            async def calls() -> None:
                async with AsyncDaprClient() as client:
                    await client.publish_event("events", "orders", "1")
                    assert (await client.publish_events("events", "orders", ["1", "2"])).failed_entries == []
                    await client.save_state("state", "a", "1")
                    assert (await client.get_state("state", "a")).data == b"1"
                    assert (await client.get_secret("vault", "password")).secret == {"password": "p"}
                    await client.set_metadata("a", "b")
                    assert (await client.get_metadata()).extended_metadata["a"] == "b"
                    with pytest.raises(DaprGrpcError) as refused:
                        await client.publish_event("other", "orders", "1")
                    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

            await site.sdk(work)

    asyncio.run(scenario())


def test_events_carry_the_trace_and_the_hops_of_the_call(tmp_path: Path) -> None:
    parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"

    async def scenario() -> None:
        from dapr.proto.runtime.v1 import pubsub_pb2
        from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub

        async with Site(tmp_path) as site, grpc.aio.insecure_channel(site.own[SHOP]) as channel:
            listening = asyncio.ensure_future(stored(site, "orders", 2))
            await asyncio.sleep(0)
            request = pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="orders", data=b"1")
            for metadata in (
                (("traceparent", parent), ("evoke-hops", "3")),
                (("traceparent", "nonsense"),),
            ):
                await DaprStub(channel).PublishEvent(request, metadata=metadata)
            first, second = await listening
            assert (first["traceparent"], first["traceid"], first["evokehops"]) == (parent, parent, 4)
            assert second["traceparent"] not in {parent, "nonsense"}

    asyncio.run(scenario())
