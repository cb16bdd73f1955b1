"""FUNC_CONTEXT: what the platform tells a function about itself; both shapes that OpenFunction has ever written.

The v1beta1 shape has ``inputs``, ``uri`` and ``runtime``; the v1beta2 shape has ``triggers`` and ``topic``. We write
the first with ``triggers`` added, and read either, under FUNC_CONTEXT or FUNC_CONTEXT_V1BETA2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

VARIABLE = "FUNC_CONTEXT"
VARIABLE_V1BETA2 = "FUNC_CONTEXT_V1BETA2"


class Component(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One input, output or state store."""

    uri: str = ""
    """Topic of a pubsub, component alias of a binding."""
    topic: str = ""
    component_name: str = ""
    component_type: str = ""
    """``pubsub.nats``, ``bindings.kafka``, ``state.redis``; for what we resolve ourselves just ``pubsub``."""
    metadata: dict[str, str] | None = None
    operation: str = ""

    @property
    def destination(self) -> str:
        """The topic, whichever field holds it."""
        return self.topic or self.uri

    @property
    def is_binding(self) -> bool:
        """Whether it is invoked with an operation instead of published to."""
        return self.component_type.startswith("bindings")


class DaprTrigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Dapr trigger of the v1beta2 shape."""

    name: str = ""
    type: str = ""
    topic: str = ""
    input_name: str = msgspec.field(default="", name="inputName")


class Triggers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What starts the function."""

    http: Any = None
    dapr: tuple[DaprTrigger, ...] | None = None


class FunctionContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The whole document."""

    name: str = ""
    namespace: str = ""
    version: str = ""
    runtime: str = ""
    port: str | int = ""
    triggers: Triggers | None = None
    inputs: dict[str, Component] | None = None
    outputs: dict[str, Component] | None = None
    states: dict[str, Component] | None = None
    pre_hooks: tuple[str, ...] | None = None
    post_hooks: tuple[str, ...] | None = None
    pre_plugins: tuple[str, ...] | None = None
    post_plugins: tuple[str, ...] | None = None
    http_pattern: str = ""


def read(environ: Mapping[str, str]) -> FunctionContext:
    """Return the context of this process, empty where there is none.

    Raises:
        msgspec.ValidationError: the document does not fit, with the path of the field.
        msgspec.DecodeError: it is not JSON.
    """
    text = environ.get(VARIABLE) or environ.get(VARIABLE_V1BETA2)
    return msgspec.json.decode(text, type=FunctionContext) if text else FunctionContext()
