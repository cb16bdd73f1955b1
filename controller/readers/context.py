"""FUNC_CONTEXT of a function: what its framework is told."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api.actions import Resource
from api.kinds.openfunction import DaprOutput, DaprTrigger, FunctionSpec, ServingBody
from controller.readers.scale import plain
from functions_framework.context_schema import Component, FunctionContext, Triggers
from functions_framework.context_schema import DaprTrigger as Declared

DEFAULT_PORT = 8080
OWN = "pubsub"
"""Component type of an EventBus."""

_encoder = msgspec.json.Encoder(order="deterministic")


def read_context(resource: Resource, spec: FunctionSpec, serving: ServingBody, components: Mapping[str, str]) -> bytes:
    """The v1beta1 shape with ``triggers`` added, as deterministic JSON; *components* have their types."""
    types = {**components, **own_types(serving)}
    triggers = serving.triggers
    http = triggers.http if triggers else None
    dapr = triggers.dapr if triggers else ()
    port = str((http.port if http else None) or DEFAULT_PORT)
    context = FunctionContext(
        name=resource.key.name,
        namespace=resource.key.namespace,
        version=spec.version or "latest",
        runtime="Knative" if http is not None else "Async",
        port=port,
        triggers=Triggers(
            http={"port": int(port)} if http is not None else None,
            dapr=tuple(_trigger(types, trigger) for trigger in dapr) or None,
        ),
        inputs=_inputs(serving, types, dapr) or None,
        outputs={output.dapr.output_name or output.dapr.name: _output(types, output.dapr) for output in serving.outputs}
        or None,
        states={name: Component(component_name=name, component_type=types.get(name, "")) for name in serving.states}
        or None,
        pre_hooks=serving.hooks.pre if serving.hooks else None,
        post_hooks=serving.hooks.post if serving.hooks else None,
    )
    return _encoder.encode(plain(context))


def own_types(serving: ServingBody) -> dict[str, str]:
    """Components that the function declares for itself -> their types."""
    states = {name: state.spec for name, state in serving.states.items() if state is not None and state.spec}
    return {name: body.type for group in (serving.pubsub, serving.bindings, states) for name, body in group.items()}


def _trigger(types: Mapping[str, str], trigger: DaprTrigger) -> Declared:
    return Declared(
        name=trigger.name,
        type=trigger.type or types.get(trigger.name, OWN),
        topic=trigger.topic or "",
        input_name=trigger.input_name or "",
    )


def _inputs(serving: ServingBody, types: Mapping[str, str], dapr: tuple[DaprTrigger, ...]) -> dict[str, Component]:
    inputs: dict[str, Component] = {}
    for trigger in dapr:
        name = trigger.input_name or trigger.name
        unique = name if name not in inputs else f"{name}-{len(inputs)}"
        inputs[unique] = Component(
            uri=trigger.topic or trigger.name,
            component_name=trigger.name,
            component_type=trigger.type or types.get(trigger.name, OWN),
        )
    for given in serving.triggers.inputs if serving.triggers else ():
        inputs.setdefault(
            given.dapr.name,
            Component(
                uri=given.dapr.topic or given.dapr.name,
                component_name=given.dapr.name,
                component_type=given.dapr.type or types.get(given.dapr.name, OWN),
            ),
        )
    return inputs


def _output(types: Mapping[str, str], output: DaprOutput) -> Component:
    return Component(
        uri=output.topic or output.name,
        component_name=output.name,
        component_type=output.type or types.get(output.name, OWN),
        metadata=dict(sorted(output.metadata.items())) or None,
        operation=output.operation or "",
    )
