"""What a function sends on: values become events that keep the cause's order, trace and hop count.

The id of a sent event is derived from the event that caused it, so a retried attempt publishes the same id again and
the bus can drop the duplicate.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from functions_framework.codec import STRUCTURED
from functions_framework.context_schema import Component, FunctionContext
from functions_framework.dapr import DaprClient, Message, PublishFailed
from functions_framework.event import CloudEvent
from functions_framework.exceptions import FunctionsFrameworkException
from functions_framework.invocation import Invocation, running

EVENT_TYPE = "com.dapr.event.sent"
"""Type of an event made from a plain value: what Dapr itself gives it."""

DEFAULT_BUS = "default"

_encoder = msgspec.json.Encoder(enc_hook=str)


class UnknownOutput(FunctionsFrameworkException):
    """The function declares no such output."""

    def __init__(self, name: str, known: Mapping[str, Component]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"no output named {name}; declared outputs: {listed}")


class Outputs:
    """The declared outputs of this function, and the way to them."""

    def __init__(self, context: FunctionContext, client: DaprClient, *, source: str) -> None:
        self.declared: dict[str, Component] = dict(context.outputs or {})
        self._client = client
        self._source = source

    async def send(self, name: str, value: Any) -> bytes | None:
        """Send *value* to one declared output.

        Raises:
            UnknownOutput, PublishFailed
        """
        component = self.declared.get(name)
        if component is None:
            raise UnknownOutput(name, self.declared)
        if component.is_binding:
            message = plain(value, component.metadata)
            return await self._client.invoke_binding(component.component_name, component.operation, message)
        message = self.message(value, f"send/{name}", _count(), metadata=component.metadata)
        await self._client.publish(component.component_name, component.destination, message)
        return None

    async def publish(self, topic: str, value: Any, *, bus: str = DEFAULT_BUS, key: str | None = None) -> None:
        """Publish *value* to any topic of a bus or pubsub component.

        Raises:
            PublishFailed
        """
        await self._client.publish(bus, topic, self.message(value, f"{bus}/{topic}", _count(), key=key))

    async def returned(self, results: Mapping[int, tuple[Invocation, Any]]) -> dict[int, str]:
        """Send what handlers returned to every declared output; return index -> error of those that failed.

        One message goes alone, several go in one bulk call for each topic, in the order of their index.
        """
        failed: dict[int, str] = {}
        for name, component in self.declared.items():
            rest = {index: found for index, found in results.items() if index not in failed}
            if component.is_binding:
                for index, (_, value) in rest.items():
                    try:
                        await self.send(name, value)
                    except PublishFailed as error:
                        failed[index] = str(error)
            elif rest:
                failed.update(await self._publish(name, component, rest))
        return failed

    async def _publish(
        self, name: str, component: Component, results: Mapping[int, tuple[Invocation, Any]]
    ) -> dict[int, str]:
        messages = {
            index: self.message(value, name, 0, cause=invocation, metadata=component.metadata)
            for index, (invocation, value) in results.items()
        }
        target = (component.component_name, component.destination)
        try:
            if len(messages) == 1:
                await self._client.publish(*target, next(iter(messages.values())))
                return {}
            failed = await self._client.publish_bulk(*target, list(messages.values()))
        except PublishFailed as error:
            return dict.fromkeys(messages, str(error))
        indexes = list(messages)
        return {indexes[position]: reason for position, reason in failed.items() if position < len(indexes)}

    def message(
        self,
        value: Any,
        output: str,
        number: int,
        *,
        cause: Invocation | None = None,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Message:
        """Make the structured event that carries *value*; a CloudEvent is sent as it is, with trace and hops added."""
        cause = cause or running.get()
        if isinstance(value, CloudEvent):
            members = value.to_dict()
        elif isinstance(value, Mapping) and "specversion" in value and "type" in value:
            members = dict(value)
        else:
            members = self._envelope(value, output, number, cause)
        if key is not None:
            members["partitionkey"] = key
        before = cause.event if cause is not None else None
        if before is not None:
            members["evokehops"] = _hops(before) + 1
        if cause is not None and cause.traceparent:
            members.setdefault("traceparent", cause.traceparent)
        return Message(_encoder.encode(members), STRUCTURED, metadata)

    def _envelope(self, value: Any, output: str, number: int, cause: Invocation | None) -> dict[str, Any]:
        before = cause.event if cause is not None else None
        identity = str(uuid.uuid4())
        if cause is not None and before is not None:
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{cause.event_key}/{self._source}/{output}/{number}"))
        members: dict[str, Any] = {"specversion": "1.0", "id": identity, "source": self._source, "type": EVENT_TYPE}
        if before is not None and before.get("partitionkey"):
            members["partitionkey"] = before["partitionkey"]
        if isinstance(value, bytes | bytearray | memoryview):
            members |= {"datacontenttype": "application/octet-stream", "data_base64": bytes(value)}
        elif isinstance(value, str):
            members |= {"datacontenttype": "text/plain", "data": value}
        else:
            members |= {"datacontenttype": "application/json", "data": value}
        return members


def plain(value: Any, metadata: Mapping[str, str] | None = None) -> Message:
    """Make the message that carries *value* itself, for bindings."""
    if isinstance(value, CloudEvent):
        return Message(_encoder.encode(value.to_dict()), STRUCTURED, metadata)
    if isinstance(value, bytes | bytearray | memoryview):
        return Message(bytes(value), "application/octet-stream", metadata)
    if isinstance(value, str):
        return Message(value.encode(), "text/plain", metadata)
    return Message(_encoder.encode(value), "application/json", metadata)


def _count() -> int:
    invocation = running.get()
    if invocation is None:
        return 0
    invocation.sent += 1
    return invocation.sent


def _hops(event: CloudEvent) -> int:
    try:
        return int(event.get("evokehops", 0))
    except (TypeError, ValueError):
        return 0
