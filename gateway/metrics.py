"""Prometheus metrics of the gateway, read from its counters when somebody asks.

Labels are namespace, function, revision and status class: as many series as there are routed functions, whatever
clients send and functions answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.frames import RouteReading, TriggerReading
from gateway.traffic import BOUNDS, Histogram, Traffic
from replicas.table import ReplicaTable

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
FUNCTION = ("namespace", "function")

Triggers = Callable[[], Iterable[TriggerReading]]
Calls = Callable[[], Iterable[RouteReading]]
"""Service invocation, as proxies in the same process see it."""


class Metrics(Collector):
    """Everything under ``evoke_``."""

    def __init__(self, traffic: Traffic, table: ReplicaTable, triggers: Triggers, calls: Calls = tuple) -> None:
        self._traffic, self._table, self._triggers, self._calls = traffic, table, triggers, calls
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._durations()
        yield from self._replicas()
        yield from self._deliveries()
        yield from self._invocations()
        rejected = CounterMetricFamily("evoke_gateway_rejected", "Requests that no function was found for.")
        rejected.add_metric((), self._traffic.rejected)
        yield rejected
        forged = CounterMetricFamily("evoke_gateway_forged_headers", "Header lines that only the platform may set.")
        forged.add_metric((), self._traffic.forged)
        yield forged

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "evoke_gateway_requests", "Requests by status class; none: the client left.", labels=(*FUNCTION, "code")
        )
        queued = CounterMetricFamily("evoke_gateway_queued", "Asynchronous invocations stored.", labels=FUNCTION)
        active = GaugeMetricFamily("evoke_gateway_in_flight", "Requests inside the gateway.", labels=FUNCTION)
        waiting = GaugeMetricFamily("evoke_gateway_waiting", "Requests that wait for a replica.", labels=FUNCTION)
        for key, seen in self._traffic.functions.items():
            labels = (key.namespace, key.name)
            for code, count in seen.codes.items():
                requests.add_metric((*labels, code), count)
            queued.add_metric(labels, seen.queued)
            active.add_metric(labels, seen.active)
            waiting.add_metric(labels, seen.waiting)
        yield from (requests, queued, active, waiting)

    def _durations(self) -> Iterator[Metric]:
        durations = HistogramMetricFamily("evoke_gateway_seconds", "Time to the reply's end.", labels=FUNCTION)
        cold = HistogramMetricFamily("evoke_gateway_cold_start_seconds", "Time held for a start.", labels=FUNCTION)
        for key, seen in self._traffic.functions.items():
            labels = (key.namespace, key.name)
            durations.add_metric(labels, _buckets(seen.durations), seen.durations.total)
            cold.add_metric(labels, _buckets(seen.cold), seen.cold.total)
        yield from (durations, cold)

    def _replicas(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("evoke_replicas_ready", "Replicas in use.", labels=(*FUNCTION, "revision"))
        free = GaugeMetricFamily(
            "evoke_replicas_free_credit", "Requests they would take.", labels=(*FUNCTION, "revision")
        )
        for reading in self._traffic.readings():
            revision = reading.revision
            labels = (revision.namespace, revision.function, revision.revision)
            ready.add_metric(labels, len(self._table.ready(revision)))
            free.add_metric(labels, self._table.free(revision))
        yield from (ready, free)

    def _deliveries(self) -> Iterator[Metric]:
        names = ("namespace", "subscription")
        lag = GaugeMetricFamily("evoke_trigger_lag", "Matching events not yet done.", labels=names)
        done = CounterMetricFamily("evoke_trigger_done", "Events whose handler succeeded.", labels=names)
        failed = CounterMetricFamily("evoke_trigger_failed_attempts", "Attempts that failed.", labels=names)
        dead = CounterMetricFamily("evoke_trigger_dead_letters", "Events given up.", labels=names)
        untold = CounterMetricFamily(
            "evoke_trigger_untold", "Events of which the condition could not be told.", labels=names
        )
        for reading in self._triggers():
            labels = (reading.subscription.namespace, reading.subscription.name)
            if not reading.blind:  # a lag that cannot be told is absent, never zero
                lag.add_metric(labels, reading.lag)
            done.add_metric(labels, reading.done)
            failed.add_metric(labels, reading.failed)
            dead.add_metric(labels, reading.dead)
            untold.add_metric(labels, reading.untold)
        yield from (lag, done, failed, dead, untold)

    def _invocations(self) -> Iterator[Metric]:
        names = (*FUNCTION, "revision")
        done = CounterMetricFamily("evoke_invocations_done", "Calls by other functions that ended.", labels=names)
        failed = CounterMetricFamily("evoke_invocations_failed", "Those that failed, or were 5xx.", labels=names)
        running = GaugeMetricFamily("evoke_invocations_in_flight", "Calls by other functions that run.", labels=names)
        waiting = GaugeMetricFamily("evoke_invocations_waiting", "Those that wait for a replica.", labels=names)
        for reading in self._calls():
            revision = reading.revision
            labels = (revision.namespace, revision.function, revision.revision)
            done.add_metric(labels, reading.done)
            failed.add_metric(labels, reading.failed)
            running.add_metric(labels, reading.in_flight)
            waiting.add_metric(labels, reading.waiting)
        yield from (done, failed, running, waiting)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(map(float, histogram.counts)), strict=True))
