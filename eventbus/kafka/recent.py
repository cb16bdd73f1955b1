"""Duplicates among the records of one owner; Kafka itself absorbs only what its own producer sends twice."""

from __future__ import annotations

WINDOW = 120.0
"""Seconds for which an id is remembered, as on every bus."""
MOST = 50_000
"""Ids that are remembered; of more the oldest are forgotten before their time."""


class Recent:
    """Ids by the place that brought them first."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], float]] = {}

    def seen(self, dedupe: str, place: tuple[int, int], now: float) -> bool:
        """Whether another share and sequence brought *dedupe* within the window; the same one may ask again."""
        known = self._known.get(dedupe)
        if known is not None and now - known[1] < WINDOW:
            return known[0] != place
        self._known.pop(dedupe, None)
        self._known[dedupe] = (place, now)
        while len(self._known) > MOST or now - next(iter(self._known.values()))[1] >= WINDOW:
            del self._known[next(iter(self._known))]
        return False
