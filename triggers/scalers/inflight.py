"""Readings of gateways: requests held and in flight of a revision; pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from api.frames import RouteReading
from triggers.scalers.lag import mean


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over gateways."""

    in_flight: float = 0
    waiting: float = 0
    handler_seconds: float = 0


def read(readings: Iterable[RouteReading]) -> InFlight:
    readings = tuple(readings)
    return InFlight(
        in_flight=sum(one.in_flight for one in readings),
        waiting=sum(one.waiting for one in readings),
        handler_seconds=mean((one.handler_us, one.done) for one in readings),
    )
