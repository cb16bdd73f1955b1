"""Which of a function's revisions one request goes to; pure."""

from __future__ import annotations

from api.model import Backend


def choose(backends: tuple[Backend, ...], draw: float) -> Backend | None:
    """The backend that *draw* (0 <= draw < 1) falls on, by weight; None: none has weight."""
    total = sum(backend.weight for backend in backends)
    point = draw * total
    for backend in backends:
        point -= backend.weight
        if point < 0:
            return backend
    return None
