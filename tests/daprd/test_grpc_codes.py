"""The same calls to a real daprd and to ours: equal codes and reasons, but where we say on purpose what it does not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import binding_pb2, invoke_pb2, metadata_pb2, pubsub_pb2, secret_pb2, state_pb2
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprStub
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from api.meta import Key
from api.model import Bus
from tests.daprd.sidecar import Daprd
from tests.proxy.dapr_grpc.site import SHOP, Site, component

pytestmark = pytest.mark.broker

Item, Etag = common_pb2.StateItem, common_pb2.Etag
FIRST_WRITE = common_pb2.StateOptions(concurrency=common_pb2.StateOptions.CONCURRENCY_FIRST_WRITE)
STALE = Etag(value="999")


def publish(pubsub: str = "events", topic: str = "t", **more: Any) -> Any:
    return pubsub_pb2.PublishEventRequest(pubsub_name=pubsub, topic=topic, data=b"1", **more)


def bulk(pubsub: str, *ids: str) -> Any:
    entries = [pubsub_pb2.BulkPublishRequestEntry(entry_id=one, event=b"1") for one in ids]
    return pubsub_pb2.BulkPublishRequest(pubsub_name=pubsub, topic="t", entries=entries)


def save(*items: Any, store: str = "state") -> Any:
    return state_pb2.SaveStateRequest(store_name=store, states=items)


def transact(operation: str, *, etag: Any = None) -> Any:
    one = state_pb2.TransactionalStateOperation(operationType=operation, request=Item(key="a", value=b"2", etag=etag))
    return state_pb2.ExecuteStateTransactionRequest(storeName="state", operations=[one])


def delete(key: str, etag: Any = None) -> Any:
    return state_pb2.DeleteStateRequest(store_name="state", key=key, etag=etag)


def get(key: str, store: str = "state") -> Any:
    return state_pb2.GetStateRequest(store_name=store, key=key)


def secret(key: str, store: str = "vault") -> Any:
    return secret_pb2.GetSecretRequest(store_name=store, key=key)


def invoke(app: str) -> Any:
    return invoke_pb2.InvokeServiceRequest(id=app, message=common_pb2.InvokeRequest(method="x"))


def bind(name: str, operation: str) -> Any:
    return binding_pb2.InvokeBindingRequest(name=name, operation=operation)


ROWS: list[tuple[str, Any, str]] = [
    ("PublishEvent", publish(), ""),
    ("PublishEvent", publish("none"), ""),
    ("PublishEvent", publish(""), ""),
    ("PublishEvent", publish(topic=""), ""),
    ("PublishEvent", publish("guarded", "secret"), ""),
    ("PublishEvent", publish(metadata={"rawPayload": "maybe"}), ""),
    ("PublishEvent", publish(metadata={"ttlInSeconds": "soon"}), "INVALID_ARGUMENT"),  # it passes that over
    ("BulkPublishEventAlpha1", bulk("events", "1", "2"), ""),
    ("BulkPublishEventAlpha1", bulk("events"), ""),
    ("BulkPublishEventAlpha1", bulk("events", "1", "1"), ""),
    ("BulkPublishEventAlpha1", bulk("events", ""), ""),
    ("BulkPublishEventAlpha1", bulk("none"), ""),
    ("GetState", get("a"), ""),
    ("GetState", get("a", "none"), ""),
    ("GetState", get("a||b"), ""),
    ("SaveState", save(Item(key="a", value=b"1")), ""),
    ("SaveState", save(), ""),
    ("SaveState", save(store="none"), ""),
    ("SaveState", save(Item(key="a||b", value=b"1")), ""),
    ("SaveState", save(Item(key="a", value=b"1", etag=STALE)), ""),
    ("SaveState", save(Item(key="a", value=b"1", options=FIRST_WRITE)), ""),
    ("SaveState", save(Item(key="a", value=b"1", metadata={"ttlInSeconds": "soon"})), "INVALID_ARGUMENT"),  # INTERNAL
    ("GetBulkState", state_pb2.GetBulkStateRequest(store_name="state", keys=["a", "none"]), ""),
    ("GetBulkState", state_pb2.GetBulkStateRequest(store_name="state", keys=["a||b"]), ""),
    ("DeleteState", delete("none"), ""),
    ("DeleteState", delete("none", STALE), ""),
    ("DeleteState", delete("a", STALE), ""),
    ("DeleteBulkState", state_pb2.DeleteBulkStateRequest(store_name="state", states=[Item(key="a", etag=STALE)]), ""),
    ("ExecuteStateTransaction", transact("upsert"), ""),
    ("ExecuteStateTransaction", transact("fly"), ""),
    ("ExecuteStateTransaction", transact("upsert", etag=STALE), "ABORTED"),  # INTERNAL, as if the store were broken
    ("QueryStateAlpha1", state_pb2.QueryStateRequest(store_name="state", query="{}"), "UNIMPLEMENTED"),
    ("GetSecret", secret("password"), ""),
    ("GetSecret", secret("none"), ""),
    ("GetSecret", secret("password", "none"), ""),
    ("GetBulkSecret", secret_pb2.GetBulkSecretRequest(store_name="vault"), ""),
    ("GetBulkSecret", secret_pb2.GetBulkSecretRequest(store_name="none"), ""),
    ("InvokeBinding", bind("none", "create"), ""),
    ("InvokeBinding", bind("disk", ""), ""),
    ("InvokeBinding", bind("disk", "fly"), ""),
    ("InvokeService", invoke("nobody"), ""),
    ("SetMetadata", metadata_pb2.SetMetadataRequest(key="a", value="b"), ""),
]
"""Method, request, and our code where it is another one; in order, for state goes from one to the next."""
REASONS_OF_OURS = frozenset({"DAPR_STATE_ETAG_MISMATCH", "DAPR_STATE_ILLEGAL_OPERATION"})
"""daprd 1.14 tells none in their place."""


async def answers(address: str) -> list[tuple[str, str]]:
    """Code and reason of each row."""
    found = []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = DaprStub(channel)
        for method, request, _ in ROWS:
            try:
                await getattr(stub, method)(request, timeout=10)
            except grpc.aio.AioRpcError as error:
                found.append((error.code().name, reason(error)))
            else:
                found.append(("OK", ""))
    return found


def reason(error: grpc.aio.AioRpcError) -> str:
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = ErrorInfo()
    return next((info.reason for one in Status.FromString(packed).details if one.Unpack(info)), "")


def test_codes_and_reasons_are_those_of_daprd(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "secrets.json").write_text(json.dumps({"password": "p"}))
    declared: list[tuple[str, str, dict[str, Any]]] = [
        ("events", "pubsub.in-memory", {}),
        ("guarded", "pubsub.in-memory", {"protectedTopics": "secret"}),
        ("state", "state.in-memory", {}),
        ("vault", "secretstores.local.file", {"secretsFile": str(tmp_path / "secrets.json")}),
        ("disk", "bindings.localstorage", {"rootPath": str(tmp_path / "files")}),
    ]
    (tmp_path / "daprd").mkdir()
    daprd = Daprd(tmp_path / "daprd", "shop", [resource(*one) for one in declared])
    daprd.start()
    try:
        theirs = asyncio.run(answers(f"127.0.0.1:{daprd.grpc}"))
    finally:
        daprd.stop()

    async def here() -> list[tuple[str, str]]:
        components = [component(type_, name, metadata) for name, type_, metadata in declared]
        async with Site(tmp_path, components=components) as site:
            site._declared_buses += (Bus(key=Key("default", "guarded"), kind="memory"),)
            site.declare()
            return await answers(site.own[SHOP])

    ours = asyncio.run(here())
    for (method, request, other), their, our in zip(ROWS, theirs, ours, strict=True):
        where = f"{method} {str(request)[:200]}"
        assert our[0] == (other or their[0]), where
        assert not other or other != their[0], f"{where}: this is no difference any more"
        assert other or our[1] in {their[1], *REASONS_OF_OURS}, where


def resource(name: str, type_: str, metadata: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": key, "value": value} for key, value in metadata.items()]
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": type_, "version": "v1", "metadata": listed},
    }
