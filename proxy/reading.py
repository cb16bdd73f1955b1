"""What the owner of one subscription sees, as the readings that the autoscaler and the status live on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api.frames import TriggerReading
from api.meta import RevisionKey
from api.model import Backend, Subscription
from proxy.batching import HandlerTime
from proxy.hold import Hold, Share
from proxy.meter import Meter
from proxy.receiver import backends_of, nobody
from proxy.wiring import Wiring


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner knows when it is asked."""

    subscription: Subscription
    hold: Hold | None
    meter: Meter
    pending: int
    """Events in the broker behind the last one received."""
    blind: str
    condition: str
    times: Mapping[RevisionKey, HandlerTime] = {}


def readings(view: View, wiring: Wiring) -> list[TriggerReading]:
    """One reading for each revision that events may go to; what waits in the broker is split by weight.

    A sink, and a function of which no revision was ever ready, have one reading of no revision.
    """
    weighted = [backend for backend in backends_of(view.subscription) if backend.weight > 0]
    weighted = weighted or [Backend(revision=nobody(view.subscription))]
    common = _common(view, weighted[0].revision, wiring)
    shares = view.hold.shares() if view.hold else {}
    total = sum(backend.weight for backend in weighted)
    found = []
    for backend in weighted:
        share = shares.get(backend.revision, Share())
        time = view.times.get(backend.revision)
        found.append(
            msgspec.structs.replace(
                common,
                revision=backend.revision,
                lag=share.held + round(view.pending * view.meter.ratio * backend.weight / total),
                held=share.held,
                parked=share.parked,
                in_flight=share.in_flight,
                runnable=share.runnable,
                handler_us=round(time.elapsed * 1e6, 1) if time else 0.0,
            )
        )
    return found


def _common(view: View, revision: RevisionKey, wiring: Wiring) -> TriggerReading:
    """Build what is the same for every revision."""
    meter, hold = view.meter, view.hold
    median, slow = meter.waits.percentiles(wiring.clock(), 0.5, 0.99)
    condition = view.condition
    if hold is not None and not condition:
        condition = hold.condition or ("DownstreamFailing" if hold.breaker.open else "")
    return TriggerReading(
        subscription=view.subscription.key,
        revision=revision,
        epoch=hold.intake.epoch if hold else 0,
        floor=hold.floor if hold else 0,
        matched_ratio=round(meter.ratio, 4),
        oldest_ms=int(hold.oldest_age(wiring.clock(), wiring.wall()) * 1000) if hold else 0,
        arrived=meter.arrived,
        done=meter.done,
        failed=meter.failed,
        dead=meter.dead,
        untold=meter.untold,
        wait_p50_ms=round(median, 3),
        wait_p99_ms=round(slow, 3),
        blind=view.blind,
        condition=condition,
        last_error=meter.last_error,
    )
