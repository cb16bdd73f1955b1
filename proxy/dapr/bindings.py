"""Output bindings: an app asks a component to do something outside."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.components.components import Components
from proxy.components.protocols import Answer, ComponentError
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError
from proxy.dapr.guards import Guards


class Bindings:
    """The bindings API, outward."""

    def __init__(self, components: Components, guards: Guards) -> None:
        self._components, self._guards = components, guards

    async def invoke(
        self, caller: Caller, name: str, operation: str, data: bytes, metadata: Mapping[str, str]
    ) -> tuple[bytes, dict[str, str]]:
        """What the other side answers: data and metadata."""
        context = {"traceparent": caller.traceparent, "tracestate": caller.tracestate}
        known = {**metadata, **{header: value for header, value in context.items() if value and header not in metadata}}

        async def call() -> Answer:
            try:
                return await self._components.binding(caller.app, name).invoke(operation, data, known)
            except ComponentError as error:
                message = f"error invoking output binding {name}: {error}"
                raise DaprError(500, "INTERNAL", "ERR_INVOKE_OUTPUT_BINDING", message) from error

        answer = await self._guards.run(caller.app, f"component:{name}", call)
        return answer.data, answer.metadata
