"""OpenFunction's UserContext: the one argument of ``def user_function(context)``.

Names and answers are those of OpenFunction's Python framework 0.2. Beyond it: ``attempt``, ``deadline``, ``publish``
and the rest of Context; an asynchronous function awaits what ``send`` and ``publish`` return.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Mapping
from typing import Any

from functions_framework.context.calls import CallContext, Context, _on_loop, _outputs
from functions_framework.event import CloudEvent
from functions_framework.invocation import Invocation
from functions_framework.openfunction.function_out import FunctionOut
from functions_framework.outputs import DEFAULT_BUS


class TopicEvent(CloudEvent):
    """A CloudEvent with the accessors of the CloudEvents SDK's ``v1.Event``, which OpenFunction hands out."""

    __slots__ = ()

    @classmethod
    def of(cls, event: CloudEvent) -> TopicEvent:
        """Copy of *event* with the accessors."""
        made = cls.__new__(cls)
        made._attributes = dict(event)
        made.data = event.data
        return made

    def Data(self) -> bytes:  # noqa: N802 - the SDK's name
        """Return data as the bytes that were sent."""
        if self.data is None:
            return b""
        if isinstance(self.data, bytes):
            return self.data
        return self.data.encode() if isinstance(self.data, str) else json.dumps(self.data).encode()

    def EventID(self) -> Any:  # noqa: N802 - the SDK's name
        """Return the id."""
        return self.get("id")

    def EventType(self) -> Any:  # noqa: N802 - the SDK's name
        """Return the type."""
        return self.get("type")

    def Source(self) -> Any:  # noqa: N802 - the SDK's name
        """Return the source."""
        return self.get("source")

    def Subject(self) -> Any:  # noqa: N802 - the SDK's name
        """Return the subject."""
        return self.get("subject")

    def ContentType(self) -> Any:  # noqa: N802 - the SDK's name
        """Return the content type of the data."""
        return self.get("datacontenttype")

    def Extensions(self) -> Mapping[str, Any]:  # noqa: N802 - the SDK's name
        """Return the attributes that CloudEvents does not define."""
        known = {"id", "type", "source", "specversion", "subject", "time", "datacontenttype", "dataschema"}
        return {name: value for name, value in self.items() if name not in known}


class BindingRequest:
    """What an input binding delivered, as Dapr's SDK shows it."""

    def __init__(self, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.metadata = dict(metadata or {})

    def text(self) -> str:
        """Data as text."""
        return self.data.decode()


class UserContext(CallContext):
    """What the function was called with, and where it can send."""

    def __init__(
        self,
        invocation: Invocation,
        *,
        binding_request: BindingRequest | None = None,
        topic_event: CloudEvent | None = None,
        http_request: Any = None,
    ) -> None:
        super().__init__(invocation)
        self.out = FunctionOut(0, None, "", {})
        self._binding_request = binding_request
        self._topic_event = TopicEvent.of(topic_event) if topic_event is not None else None
        self._http_request = http_request

    def get_binding_request(self) -> BindingRequest | None:
        """Copy of the binding request, None if something else called."""
        return copy.deepcopy(self._binding_request)

    def get_topic_event(self) -> TopicEvent | None:
        """Copy of the event, None if something else called."""
        return TopicEvent.of(copy_event(self._topic_event)) if self._topic_event is not None else None

    def get_http_request(self) -> Any:
        """Return the HTTP request, None if something else called."""
        return self._http_request

    def send(self, output_name: str, data: Any) -> Any:
        """Send *data* to a declared output: acknowledged on return, or awaitable in an asynchronous function."""
        if _on_loop():
            return _outputs().send(output_name, data)
        return Context(self._invocation).send(output_name, data)

    def publish(
        self, topic: str, data: Any, *, bus: str = DEFAULT_BUS, key: str | None = None
    ) -> Awaitable[None] | None:
        """Publish *data* to any topic of *bus*, in the manner of ``send``."""
        if _on_loop():
            return _outputs().publish(topic, data, bus=bus, key=key)
        Context(self._invocation).publish(topic, data, bus=bus, key=key)
        return None


def copy_event(event: CloudEvent) -> CloudEvent:
    """Copy of *event* that shares no data with it."""
    made = CloudEvent.from_dict(dict(event))
    made.data = copy.deepcopy(event.data)
    return made
