"""The part of Dapr's HTTP API that this release serves to functions: publish, bulk publish, health, metadata.

Status codes and error bodies are Dapr's. A caller is known by its token and reaches the buses of its own namespace
only; everything else of the API answers 501 with an errorCode that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from api import topics
from api.errors import EvokeError
from api.meta import Key
from api.model import Snapshot
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, dedupe_id, heading
from eventbus.errors import BusError, BusFull, TooLarge
from proxy.buses import Buses
from proxy.envelope import BadMetadata, Message, wrap
from proxy.hops import caused, echoed
from replicas.asgi import Answer, BodyTooLarge, Reply, Request, Router, json_reply

BODY_LIMIT = 4 << 20
"""Dapr's default --max-body-size."""
VERSION = "1.14.0-evoke"


class DaprError(EvokeError):
    """An answer in Dapr's shape: *status*, errorCode and, for pub/sub, google.rpc details."""

    def __init__(self, status: int, code: str, message: str, reason: str = "", resource: str = "") -> None:
        super().__init__(message, code=code)
        self.status = status
        self.details: list[dict[str, Any]] = []
        if reason:
            self.details.append(
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "dapr.io", "reason": reason}
            )
        if resource:
            self.details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                    "resource_type": "pubsub",
                    "resource_name": resource,
                }
            )


class BulkEntry(msgspec.Struct, frozen=True):
    """One message of a bulk publish, as Dapr's clients write it."""

    entryId: str = ""  # noqa: N815 - Dapr's spelling on the wire
    event: msgspec.Raw = msgspec.Raw()
    contentType: str = ""  # noqa: N815 - Dapr's spelling on the wire
    metadata: dict[str, str] = {}


_entries = msgspec.json.Decoder(list[BulkEntry])


class DaprApi:
    def __init__(self, buses: Buses, snapshots: Mapping[str, Snapshot], platform: Platform | None) -> None:
        self._buses, self._snapshots, self._platform = buses, snapshots, platform
        self.app = Router(limit=BODY_LIMIT, refuse=_refuse, missing=self._missing)
        route = self.app.route
        for version in ("v1.0", "v1.0-alpha1"):
            route(["POST", "PUT"], f"/{version}/publish/bulk/{{pubsub}}/{{topic*}}", self._publish_bulk)
        route(["POST", "PUT"], "/v1.0/publish/{pubsub}/{topic*}", self._publish)
        route(["GET"], "/v1.0/healthz", self._healthy)
        route(["GET"], "/v1.0/healthz/outbound", self._healthy)
        route(["GET"], "/v1.0/metadata", self._metadata)

    def _caller(self, request: Request) -> Key:
        """The function that calls; its namespace is all it can reach."""
        if self._platform is None:
            return Key("default", "")
        token = request.headers.get(b"dapr-api-token", b"").decode("latin-1")
        caller = self._platform.caller(token) if token else None
        if caller is None:
            raise DaprError(401, "ERR_API_TOKEN", "invalid api token: it comes with the environment as DAPR_API_TOKEN")
        return caller

    def _bus(self, caller: Key, request: Request) -> EventBus:
        """The bus that a publish names; raises DaprError as Dapr words it."""
        pubsub, topic = request.params["pubsub"], request.params["topic"]
        if not pubsub:
            raise DaprError(404, "ERR_PUBSUB_EMPTY", "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY")
        if not topic:
            message = f"topic is empty in pubsub {pubsub}"
            raise DaprError(404, "ERR_TOPIC_NAME_EMPTY", message, "DAPR_PUBSUB_TOPIC_NAME_EMPTY", pubsub)
        if topic.startswith(topics.RESERVED):
            message = f"topic {topic} is not allowed for app id {caller.name}"
            raise DaprError(403, "ERR_PUBSUB_FORBIDDEN", message, "DAPR_PUBSUB_FORBIDDEN", pubsub)
        self._check_component(caller, pubsub)
        try:
            bus = self._buses.get(Key(caller.namespace, pubsub))
        except BusError as error:
            raise _publish_failed(pubsub, topic, error) from error
        if bus is None:
            raise DaprError(
                404, "ERR_PUBSUB_NOT_FOUND", f"pubsub {pubsub} is not found", "DAPR_PUBSUB_NOT_FOUND", pubsub
            )
        return bus

    def _check_component(self, caller: Key, name: str) -> None:
        """A component of that name must be in the caller's scope, and one that this release runs: an event bus."""
        snapshot = self._snapshots.get(caller.namespace)
        for component in snapshot.components if snapshot else ():
            if component.key.name != name:
                continue
            app = f"{caller.name}-{caller.namespace}"
            if component.scopes and not {app, caller.name} & set(component.scopes):
                message = f"app id {app} is not in the scopes of component {name}"
                raise DaprError(403, "ERR_PUBSUB_FORBIDDEN", message, "DAPR_PUBSUB_FORBIDDEN", name)

    async def _publish(self, request: Request) -> Answer:
        caller = self._caller(request)
        bus = self._bus(caller, request)
        metadata = _metadata(request.query)
        content_type = request.headers.get(b"content-type", b"text/plain").decode("latin-1")
        await _store(bus, self._message(caller, request, request.body, content_type, metadata))
        return Reply(204)

    async def _publish_bulk(self, request: Request) -> Answer:
        caller = self._caller(request)
        bus = self._bus(caller, request)
        pubsub = request.params["pubsub"]
        try:
            entries = _entries.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DaprError(
                400, "ERR_PUBSUB_EVENTS_SER", f"error when unmarshaling the request for topic: {error}", "", pubsub
            ) from error
        ids = [entry.entryId for entry in entries]
        if not all(ids) or len(set(ids)) != len(ids):
            raise DaprError(400, "ERR_PUBSUB_EVENTS_SER", "error: entryId is duplicated or not present for entry")
        if empty := next((entry.entryId for entry in entries if not bytes(entry.event)), ""):
            raise DaprError(400, "ERR_PUBSUB_EVENTS_SER", f"error: entry {empty[:40]} has no event")
        common = _metadata(request.query)
        # started in their order: the bus stores what one connection publishes in that order
        results = await asyncio.gather(
            *(self._store_entry(bus, caller, request, entry, common) for entry in entries), return_exceptions=True
        )
        failed = []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, EvokeError):
                failed.append({"entryId": entry.entryId, "error": result.message})
            elif isinstance(result, BaseException):
                raise result
        if failed:
            return json_reply({"failedEntries": failed, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"}, 500)
        return Reply(204)

    async def _store_entry(
        self, bus: EventBus, caller: Key, request: Request, entry: BulkEntry, common: Mapping[str, str]
    ) -> None:
        content_type = entry.contentType or "text/plain"
        metadata = {**common, **{name.lower(): value for name, value in entry.metadata.items()}}
        body = _entry_body(entry)
        await _store(bus, self._message(caller, request, body, content_type, metadata))

    @staticmethod
    def _message(caller: Key, request: Request, body: bytes, content_type: str, metadata: Mapping[str, str]) -> Message:
        return Message(
            body=body,
            content_type=content_type,
            metadata=metadata,
            source=f"{caller.name}-{caller.namespace}" if caller.name else "",
            topic=request.params["topic"],
            pubsub=request.params["pubsub"],
            traceparent=request.headers.get(b"traceparent", b"").decode("latin-1"),
            hops=echoed(request.headers.get(b"evoke-hops", b"")),
        )

    async def _healthy(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's signature
        return Reply(204)

    async def _metadata(self, request: Request) -> Answer:
        caller = self._caller(request)
        snapshot = self._snapshots.get(caller.namespace) or Snapshot(namespace=caller.namespace)
        components = [{"name": bus.key.name, "type": f"pubsub.{bus.kind}", "version": "v1"} for bus in snapshot.buses]
        subscriptions = [
            {
                "pubsubname": one.bus.name,
                "topic": one.subject,
                "rules": {"rules": [{"path": one.path}]},
                "type": "DECLARATIVE",
            }
            for one in snapshot.subscriptions
            if any(backend.revision.function == caller.name for backend in one.backends)
        ]
        return json_reply(
            {
                "id": f"{caller.name}-{caller.namespace}",
                "runtimeVersion": VERSION,
                "enabledFeatures": [],
                "actors": [],
                "components": components,
                "extended": {"platform": "evoke"},
                "subscriptions": subscriptions,
            }
        )

    async def _missing(self, request: Request) -> Answer:
        if not request.path.startswith("/v1.0"):
            raise DaprError(404, "ERR_NOT_FOUND", f"{request.path} is not part of Dapr's API")
        part = request.path.split("/")[2] if request.path.count("/") > 1 else request.path
        message = f"{part} is not served in this release; it serves publish, publish/bulk, healthz and metadata"
        raise DaprError(501, "ERR_NOT_IMPLEMENTED", message)


def _metadata(query: Mapping[str, str]) -> dict[str, str]:
    """Request metadata: query parameters ``metadata.<name>``, names without regard to case."""
    return {name[9:].lower(): value for name, value in query.items() if name[:9].lower() == "metadata."}


def _entry_body(entry: BulkEntry) -> bytes:
    """Bytes of one entry: JSON as it stands, bytes out of base64, text out of its string."""
    raw = bytes(entry.event)
    media = entry.contentType.partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")) or not raw.startswith(b'"'):
        return raw
    try:
        return msgspec.json.decode(raw, type=bytes) if media == "application/octet-stream" else _text(raw)
    except msgspec.DecodeError:
        return _text(raw)


def _text(raw: bytes) -> bytes:
    try:
        return msgspec.json.decode(raw, type=str).encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Malformed(f"the text of the entry does not hold: {error}") from error


async def _store(bus: EventBus, message: Message) -> None:
    """Publish one message; returns once the bus acknowledged it."""
    try:
        payload = caused(wrap(message, datetime.now(UTC)), message.hops)
        read = heading(payload)
        await bus.publish(
            message.topic,
            payload,
            key=message.metadata.get("partitionkey", ""),
            dedupe=dedupe_id(read.source, read.id),
            output=bool(message.source),
        )
    except BadMetadata as error:
        code = "ERR_PUBSUB_REQUEST_METADATA"
        raise DaprError(400, code, error.message, "DAPR_PUBSUB_METADATA_DESERIALIZATION", message.pubsub) from error
    except Malformed as error:
        reason = "DAPR_PUBSUB_CLOUD_EVENTS_SER"  # Dapr answers 500, which its clients take for a reason to try again
        raise DaprError(400, "ERR_PUBSUB_CLOUD_EVENTS_SER", error.message, reason, message.pubsub) from error
    except BusError as error:
        raise _publish_failed(message.pubsub, message.topic, error) from error


def _publish_failed(pubsub: str, topic: str, error: BusError) -> DaprError:
    status = 413 if isinstance(error, TooLarge) else 507 if isinstance(error, BusFull) else 500
    message = f"error when publish to topic {topic} in pubsub {pubsub}: {error}"
    return DaprError(status, "ERR_PUBSUB_PUBLISH_MESSAGE", message, "DAPR_PUBSUB_PUBLISH_MESSAGE", pubsub)


def _refuse(error: EvokeError) -> Reply:
    if isinstance(error, DaprError):
        body: dict[str, Any] = {"errorCode": error.code, "message": error.message}
        return json_reply({**body, "details": error.details} if error.details else body, error.status)
    status = 413 if isinstance(error, BodyTooLarge) else 500
    return json_reply(
        {"errorCode": "ERR_BODY_TOO_LARGE" if status == 413 else "ERR_INTERNAL", "message": str(error)}, status
    )
