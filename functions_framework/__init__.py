"""Write functions: Google's decorators unchanged, OpenFunction's ``user_function(context)``, and batches.

    import functions_framework as ff

    @ff.cloud_event
    async def on_reading(event, context): ...

A second parameter named ``context`` is optional for every kind of handler; see functions_framework.context.
"""

from typing import TYPE_CHECKING, Any

from functions_framework import aio
from functions_framework.decorators import batch, cloud_event, errorhandler, http, typed
from functions_framework.event import CloudEvent
from functions_framework.outcome import Reject, Retry

if TYPE_CHECKING:
    from functions_framework import context
    from functions_framework.wsgi import create_app

__all__ = [
    "CloudEvent",
    "Reject",
    "Retry",
    "aio",
    "batch",
    "cloud_event",
    "context",
    "create_app",
    "errorhandler",
    "http",
    "typed",
]


def __getattr__(name: str) -> Any:
    """Import the server's side when it is asked for: the platform imports this package for its events alone."""
    if name == "context":
        import functions_framework.context as found

        return found
    if name in {"create_app", "app"}:
        from functions_framework.wsgi import create_app

        return create_app if name == "create_app" else create_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
