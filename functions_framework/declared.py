"""What FUNC_CONTEXT has the function subscribe to, as a daprd beside it asks; pure."""

from __future__ import annotations

from typing import Any

from functions_framework.context_schema import FunctionContext

BATCH = 100
"""Events of one delivery."""


def subscriptions(context: FunctionContext) -> list[dict[str, Any]]:
    """Dapr's programmatic subscriptions, as ``GET /dapr/subscribe`` answers them."""
    triggers = context.triggers.dapr if context.triggers is not None and context.triggers.dapr is not None else ()
    inputs = (context.inputs or {}).values()
    found = [(t.name, t.topic) for t in triggers if t.topic and not t.type.startswith("bindings")]
    found += [(i.component_name, i.destination) for i in inputs if i.destination and not i.is_binding]
    bulk = {"enabled": True, "maxMessagesCount": BATCH}
    return [{"pubsubname": n, "topic": t, "route": "/", "bulkSubscribe": bulk} for n, t in dict.fromkeys(found)]


def bindings(context: FunctionContext) -> list[str]:
    """Names of the input bindings."""
    triggers = context.triggers.dapr if context.triggers is not None and context.triggers.dapr is not None else ()
    inputs = (context.inputs or {}).values()
    found = [t.name for t in triggers if t.type.startswith("bindings")]
    found += [i.component_name for i in inputs if i.is_binding]
    return list(dict.fromkeys(found))
