"""Who makes a call of the Dapr API, and in which trace."""

from __future__ import annotations

import msgspec

from api.model import App


class Caller(msgspec.Struct, frozen=True):
    """One call's app, and the context that it hands on."""

    app: App
    traceparent: str = ""
    """W3C trace context of the call; empty: none."""
    tracestate: str = ""
    hops: int | None = None
    """Of the event that caused the call (``evoke-hops`` of its delivery, echoed); None: it tells nothing."""

    @property
    def namespace(self) -> str:
        return self.app.key.namespace


def identity(app: App) -> str:
    """The id that *app* has as a source of events: its own where it was given one.

    Handlers of functions_framework that were given none have OpenFunction's, ``<name>-<namespace>``.
    """
    if app.protocol == "evoke" and app.id in {app.key.name, ""}:
        return f"{app.key.name}-{app.key.namespace}" if app.key.name else ""
    return app.id
