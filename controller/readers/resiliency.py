"""Resiliency of dapr.io -> policies by name, and what of them guards a target; pure.

A target that is listed has what it lists and nothing else. One that is not has the defaults: for each of timeout, retry
and circuit breaker the policy with the most special name there is, such as ``DefaultPubsubComponentInboundRetryPolicy``
before ``DefaultComponentInboundRetryPolicy``, ``DefaultComponentRetryPolicy`` and ``DefaultRetryPolicy``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeVar

import msgspec

from api import durations, support
from api.actions import Resource
from api.component_scopes import is_named
from api.delivery import Backoff, DeliveryPolicy
from api.errors import InvalidInput, Problem
from api.kinds.dapr import BreakerPolicy, Guard, ResiliencySpec, RetryPolicy
from api.model import App, CircuitBreaker, Component, Resilience, Retry
from controller.readers.model import Named, ResiliencyModel, Scope
from triggers.trips import compile_trip

Flow = Literal["Inbound", "Outbound"]
Found = TypeVar("Found")

WITHOUT_END = 1000
"""Attempts of a delivery whose policy names no end (maxRetries -1): an event that never succeeds would stop its
subscription once the window above it is full."""

BUILT_IN = {
    "DaprBuiltInServiceRetries": Retry(
        backoff=Backoff(initial=timedelta(seconds=1), factor=1.0, cap=timedelta(seconds=1), jitter=0.0), max_retries=3
    ),
    "DaprBuiltInInitializationRetries": Retry(
        backoff=Backoff(initial=timedelta(milliseconds=500), factor=1.5, cap=timedelta(seconds=10), jitter=0.5),
        max_retries=3,
    ),
}
_KINDS = {
    "pubsub": "Pubsub",
    "bindings": "Binding",
    "state": "Statestore",
    "secretstores": "Secretstore",
    "configuration": "Configuration",
}
"""Kind of a component -> how names of default policies call it."""


def read_resiliency(resource: Resource, scope: Scope) -> ResiliencyModel:
    """*resource* holds a ResiliencySpec. Never raises: what does not hold stands in ``problems``."""
    spec: ResiliencySpec = resource.spec
    policies = spec.policies
    return ResiliencyModel(
        timeouts={name: durations.wait(text) for name, text in policies.timeouts.items()},
        retries={name: _retry(given) for name, given in policies.retries.items()},
        breakers={name: _breaker(given) for name, given in policies.circuit_breakers.items()},
        apps={app: _named(guard) for app, guard in spec.targets.apps.items()},
        inbound={name: _named(one.inbound) for name, one in spec.targets.components.items()},
        outbound={name: _named(one.outbound) for name, one in spec.targets.components.items()},
        scopes=spec.scopes,
        notes=support.notes("Resiliency", spec, scope.capabilities),
        problems=tuple(
            Problem(code=one.code, path=f"spec.policies.circuitBreakers.{name}.trip", message=one.message)
            for name, given in policies.circuit_breakers.items()
            for one in _untripped(given.trip or "")
        ),
    )


def merged(models: Iterable[ResiliencyModel], app: App) -> ResiliencyModel:
    """Those that are for *app* as one; of two that name the same thing the first counts."""
    found = ResiliencyModel()
    for one in models:
        if one.scopes and not any(is_named(scope, app) for scope in one.scopes):
            continue
        found = ResiliencyModel(
            timeouts={**one.timeouts, **found.timeouts},
            retries={**one.retries, **found.retries},
            breakers={**one.breakers, **found.breakers},
            apps={**one.apps, **found.apps},
            inbound={**one.inbound, **found.inbound},
            outbound={**one.outbound, **found.outbound},
        )
    return found


def delivery(model: ResiliencyModel, name: str, type_: str, base: DeliveryPolicy) -> DeliveryPolicy:
    """*base* with what *model* says of deliveries from the component *name*, or from an EventBus (type ``pubsub``)."""
    guard = _guard(model, model.inbound, name, type_, "Inbound")
    if guard.timeout is not None and guard.timeout > timedelta(0):
        base = msgspec.structs.replace(base, timeout=guard.timeout)
    if guard.retry is not None:
        attempts = WITHOUT_END if guard.retry.max_retries < 0 else min(guard.retry.max_retries + 1, 1_000_000)
        base = msgspec.structs.replace(
            base,
            max_attempts=attempts,
            backoff=guard.retry.backoff,
            retry_statuses=guard.retry.statuses,
            retry_codes=guard.retry.codes,
        )
    return base


def calls(model: ResiliencyModel, components: Iterable[Component], apps: Collection[str]) -> tuple[Resilience, ...]:
    """What guards the calls out of an app: to each of *components*, to *apps* by id, and to the rest of both."""
    found = [_guard(model, model.outbound, one.name, one.type, "Outbound") for one in components]
    found.append(_guard(model, model.outbound, "", "pubsub", "Outbound"))
    found += [_of(model, f"app:{app}", model.apps[app], ()) for app in sorted(model.apps.keys() & set(apps))]
    found.append(_of(model, "app:", None, ("App", "")))
    guarded = (one for one in found if one != Resilience(target=one.target))
    return tuple(sorted(guarded, key=lambda one: one.target))


def _guard(model: ResiliencyModel, listed: Mapping[str, Named], name: str, type_: str, flow: Flow) -> Resilience:
    kind = _KINDS.get(type_.partition(".")[0], "")
    levels = (f"{kind}Component{flow}", f"Component{flow}", "Component", "")
    return _of(model, f"component:{name}", listed.get(name), levels)


def _of(model: ResiliencyModel, target: str, named: Named | None, levels: Sequence[str]) -> Resilience:
    """Policies of a listed target, else the default ones of *levels*, the most special name first."""
    if named is None:
        return Resilience(
            target=target,
            timeout=_default(model.timeouts, levels, "Timeout"),
            retry=_default(model.retries, levels, "Retry"),
            breaker=_default(model.breakers, levels, "CircuitBreaker"),
        )
    return Resilience(
        target=target,
        timeout=model.timeouts.get(named.timeout),
        retry=model.retries.get(named.retry) or BUILT_IN.get(named.retry),
        breaker=model.breakers.get(named.breaker),
    )


def _default(known: Mapping[str, Found], levels: Sequence[str], what: str) -> Found | None:
    names = (f"Default{level}{what}Policy" for level in levels)
    return next((known[name] for name in names if name in known), None)


def _named(given: Guard | None) -> Named:
    if given is None:
        return Named()
    return Named(timeout=given.timeout or "", retry=given.retry or "", breaker=given.circuit_breaker or "")


def _retry(given: RetryPolicy) -> Retry:
    longest = durations.wait(given.max_interval or "60s")
    if given.policy == "exponential":
        backoff = Backoff(initial=min(timedelta(milliseconds=500), longest), factor=1.5, cap=longest, jitter=0.5)
    else:
        wait = durations.wait(5000 if given.duration is None else given.duration)
        backoff = Backoff(initial=wait, factor=1.0, cap=wait, jitter=0.0)
    return Retry(
        backoff=backoff,
        max_retries=-1 if given.max_retries is None else given.max_retries,
        statuses=(given.matching.http_status_codes or "") if given.matching else "",
        codes=(given.matching.grpc_status_codes or "") if given.matching else "",
    )


def _breaker(given: BreakerPolicy) -> CircuitBreaker:
    default = CircuitBreaker()
    return CircuitBreaker(
        trip=given.trip or default.trip,
        max_requests=given.max_requests or default.max_requests,
        interval=durations.wait(given.interval or 0),
        timeout=durations.wait(given.timeout) if given.timeout else default.timeout,
    )


def _untripped(trip: str) -> tuple[Problem, ...]:
    """Why the condition of a breaker cannot be compiled."""
    if not trip:
        return ()

    try:
        compile_trip(trip)
    except InvalidInput as error:
        return error.problems
    return ()
