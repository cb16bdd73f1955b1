"""Counters of many agents to rates: arrivals per second, and how long a handler takes judged by what gets done; pure.

Reported handler times lag behind (a handler that never ends reports none, a batch reports its share per event). While
work waits the replicas are full, and Little's law gives the time from what is in flight and what gets done.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

WINDOW = 6.0
"""Seconds that a rate looks back (Knative's panic window)."""
STEP = 0.25
"""Seconds between two kept samples."""
SURE = 2.0
"""Seconds in which work must have waited before it tells handler times: two looks in a row may be chance."""


class Count(msgspec.Struct, frozen=True):
    """Counters of one subscription or route at one agent since it started."""

    arrived: int
    done: int
    requests: bool = False


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since the meter began."""

    at: float
    events: float = 0
    requests: float = 0
    done: float = 0
    """Finished while work waited."""
    busy: float = 0
    """In flight x seconds while work waited."""
    full: float = 0
    """Seconds in which work waited."""


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    counts: dict[str, Count] = {}
    samples: tuple[Sample, ...] = ()
    """Oldest first; the first one may be older than WINDOW."""
    in_flight: float = 0
    waiting: bool = False


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    arrived: float = 0
    """Since the step before."""
    event_rate: float = 0
    request_rate: float = 0
    handler_seconds: float = 0
    """At least this long; 0: nothing to say."""


def step(
    meter: Meter, counts: Mapping[str, Count], *, in_flight: float, waiting: bool, now: float
) -> tuple[Meter, Rates]:
    """Take in *counts*, keyed by agent, boot and subscription, so that a restart begins a new counter.

    A counter that was never seen adds nothing: what it counted came at an unknown time.
    """
    last = meter.samples[-1] if meter.samples else Sample(at=now)
    seconds = max(0.0, now - last.at)
    full = meter.waiting and waiting and bool(meter.in_flight)
    events, requests, done = _grown(meter.counts, counts)
    sample = Sample(
        at=max(now, last.at),
        events=last.events + events,
        requests=last.requests + requests,
        done=last.done + (done if full else 0),
        busy=last.busy + (meter.in_flight * seconds if full else 0),
        full=last.full + (seconds if full else 0),
    )
    samples = _kept(meter.samples or (last,), sample)
    after = Meter(counts=dict(counts), samples=samples, in_flight=in_flight, waiting=waiting)
    return after, _rates(samples[0], sample, events + requests)


def _grown(before: Mapping[str, Count], after: Mapping[str, Count]) -> tuple[float, float, float]:
    """Events and requests that came, and what was done, in counters known *before*."""
    events = requests = done = 0
    for key in after.keys() & before.keys():
        new, old = after[key], before[key]
        came = max(0, new.arrived - old.arrived)
        done += max(0, new.done - old.done)
        requests += came if new.requests else 0
        events += 0 if new.requests else came
    return events, requests, done


def _kept(samples: tuple[Sample, ...], sample: Sample) -> tuple[Sample, ...]:
    """*samples* and *sample*, thinned to STEP and cut to WINDOW."""
    if len(samples) > 1 and sample.at - samples[-2].at < STEP:
        samples = samples[:-1]
    old = sum(1 for one in samples if one.at <= sample.at - WINDOW)
    return (*samples[max(0, old - 1) :], sample)


def _rates(oldest: Sample, sample: Sample, arrived: float) -> Rates:
    seconds = max(sample.at - oldest.at, 1.0)
    full, done, busy = sample.full - oldest.full, sample.done - oldest.done, sample.busy - oldest.busy
    mean_in_flight = busy / full if full else 0.0
    handler = busy / done if done > mean_in_flight else full
    return Rates(
        arrived=arrived,
        event_rate=(sample.events - oldest.events) / seconds,
        request_rate=(sample.requests - oldest.requests) / seconds,
        handler_seconds=handler if full >= SURE else 0.0,
    )
