"""Metadata, health and shutdown over HTTP."""

from __future__ import annotations

from typing import Any

from proxy.dapr.about import Metadata, Subscribed
from proxy.dapr.errors import DaprError
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.call import Call, Reply, json_reply


class AboutApi:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def metadata(self, call: Call) -> Reply:
        return json_reply(_told(self._runtime.metadata(call.caller)))

    async def set_metadata(self, call: Call) -> Reply:
        value = (await call.body()).decode("utf-8", "replace")
        self._runtime.set_metadata(call.caller, call.params["key"], value)
        return Reply(204)

    async def shutdown(self, call: Call) -> Reply:
        await self._runtime.shutdown(call.caller)
        return Reply(204)

    def healthy(self, call: Call, *, known: bool) -> Reply:
        """*known*: who calls is; others may not be told whether an app id is theirs."""
        if not self._runtime.ready:
            raise DaprError(500, "INTERNAL", "ERR_HEALTH_NOT_READY", "dapr is not ready")
        asked = call.parameters("appid")
        if asked and known and not self._runtime.is_called(call.caller, asked[0]):
            message = "dapr app-id does not match"
            raise DaprError(500, "INTERNAL", "ERR_HEALTH_APPID_NOT_MATCH", message)
        return Reply(204)

    def outbound(self) -> Reply:
        """What apps wait for before they use the API; it never waits for the app itself."""
        if not self._runtime.ready:
            raise DaprError(500, "INTERNAL", "ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
        return Reply(204)


def _told(one: Metadata) -> dict[str, Any]:
    return {
        "id": one.id,
        "runtimeVersion": one.version,
        "enabledFeatures": list(one.features),
        "actors": [],
        "components": [
            {"name": part.name, "type": part.type, "version": part.version, "capabilities": list(part.capabilities)}
            for part in one.components
        ],
        "extended": one.extended,
        "subscriptions": [_subscription(part) for part in one.subscriptions],
        "appConnectionProperties": {"protocol": one.protocol, "channelAddress": "127.0.0.1"},
        "actorRuntime": {"runtimeStatus": "DISABLED", "hostReady": False},
    }


def _subscription(one: Subscribed) -> dict[str, Any]:
    told: dict[str, Any] = {"pubsubname": one.pubsub, "topic": one.topic}
    if one.metadata:
        told["metadata"] = one.metadata
    rules = [{"match": rule.match, "path": rule.path} if rule.match else {"path": rule.path} for rule in one.rules]
    return {**told, "rules": rules, "deadLetterTopic": one.dead_letter, "type": one.type}
