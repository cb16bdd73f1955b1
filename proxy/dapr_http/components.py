"""Secrets, output bindings and configuration over HTTP."""

from __future__ import annotations

import msgspec

from proxy.dapr.errors import DaprError
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.call import Call, Reply, json_reply, metadata_headers


class Invoked(msgspec.Struct, frozen=True):
    """What an output binding is asked; *data* goes there as the JSON that stands there."""

    data: msgspec.Raw = msgspec.Raw()
    metadata: dict[str, str] | None = None
    operation: str = ""


_invoked = msgspec.json.Decoder(Invoked)


class ComponentApi:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def secret(self, call: Call) -> Reply:
        pairs = await self._runtime.secret(call.caller, call.params["store"], call.params["key"], call.metadata)
        return json_reply(pairs) if pairs else Reply(204)

    async def secrets(self, call: Call) -> Reply:
        return json_reply(await self._runtime.secrets(call.caller, call.params["store"], call.metadata))

    async def invoke_binding(self, call: Call) -> Reply:
        asked = await call.json(_invoked)
        data, metadata = await self._runtime.invoke_binding(
            call.caller, call.params["name"], asked.operation, bytes(asked.data), asked.metadata or {}
        )
        return Reply(200 if data else 204, data, headers=metadata_headers(metadata))

    async def configuration(self, call: Call) -> Reply:
        items = await self._runtime.configuration(
            call.caller, call.params["store"], call.parameters("key"), call.metadata
        )
        return json_reply(items) if items else Reply(204)

    async def subscribe_configuration(self, call: Call) -> Reply:
        store, keys = call.params["store"], call.parameters("key")
        id_ = await self._runtime.post_configuration(call.caller, store, keys, call.metadata)
        return json_reply({"id": id_})

    async def unsubscribe_configuration(self, call: Call) -> Reply:
        try:
            await self._runtime.unsubscribe_configuration(call.caller, call.params["store"], call.params["id"])
        except DaprError as error:
            if error.code != "ERR_CONFIGURATION_UNSUBSCRIBE":
                raise
            return json_reply({"message": error.message}, 500)  # Dapr's shape of this one failure
        return json_reply({"ok": True})
