"""Which handler a request is for; pure."""

from __future__ import annotations

from collections.abc import Sequence

from functions_framework.handler import Handler

RESERVED_MISSES = frozenset({"/robots.txt", "/favicon.ico"})
"""Never given to a function, as in Google's framework: browsers ask for them by themselves."""


def route(handlers: Sequence[Handler], path: str, *, is_event: bool) -> Handler | None:
    """Handler for *path*: the only one, the one the first segment names, or the only one that takes what came."""
    if len(handlers) == 1:
        return handlers[0]
    first = path.lstrip("/").partition("/")[0]
    for handler in handlers:
        if handler.name == first:
            return handler
    fitting = [h for h in handlers if (h.kind.takes_events if is_event else h.kind.takes_requests)]
    return fitting[0] if len(fitting) == 1 else None
