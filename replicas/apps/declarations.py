"""What apps say of their subscriptions, as the neutral model; pure.

Source: Dapr's programmatic subscriptions (dapr/pkg/runtime/pubsub/subscriptions.go). An app without any route for a
topic has no subscription to it over HTTP; over gRPC it has one with an empty path.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from api.model import AppSubscription, Rule
from replicas.apps.client import AppConfig, BadDeclaration

MOST = 1000
"""Subscriptions of one app."""
MOST_RULES = 100
"""Rules of one subscription."""
BULK = 100
WAIT = timedelta(seconds=1)
"""Dapr's defaults for a bulk subscription that names no number or no time."""


class _Lower(msgspec.Struct, rename="lower"):
    """Names are taken in any case, as Go's JSON reader does: SDKs differ in them."""


class _Rule(_Lower):
    match: str = ""
    path: str = ""


class _Routes(_Lower):
    rules: list[_Rule] | None = None
    default: str | None = None


class _Bulk(_Lower):
    enabled: bool = False
    count: int | None = msgspec.field(name="maxmessagescount", default=None)
    wait_ms: int | None = msgspec.field(name="maxawaitdurationms", default=None)


class _Subscription(_Lower):
    pubsubname: str
    topic: str
    dead_letter: str | None = msgspec.field(name="deadlettertopic", default=None)
    metadata: dict[str, str] | None = None
    route: str | None = None
    routes: _Routes | None = None
    bulk: _Bulk | None = msgspec.field(name="bulksubscribe", default=None)


class _Config(_Lower):
    entities: list[str] | None = None


_Said = TypeVar("_Said")


def of_json(body: bytes) -> tuple[AppSubscription, ...]:
    """Subscriptions in the reply to GET /dapr/subscribe; raises BadDeclaration."""
    if body.strip() in {b"", b"null"}:
        return ()
    try:
        said = _convert(body, list[_Subscription])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace")
        raise BadDeclaration(
            f"/dapr/subscribe answers no list of subscriptions: {error}; it begins with {start!r}"
        ) from error
    return checked(tuple(_read(one) for one in said if _routed(one)))


def config_of(body: bytes) -> AppConfig:
    """The reply to GET /dapr/config; what does not hold counts as nothing said."""
    try:
        return AppConfig(tuple(_convert(body, _Config).entities or ()))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return AppConfig()


def bulk_of(count: int | None, wait_ms: int | None) -> tuple[int, timedelta]:
    """Size and wait of an enabled bulk subscription."""
    most = count if count is not None and count > 0 else BULK
    wait = timedelta(milliseconds=wait_ms) if wait_ms is not None and wait_ms > 0 else WAIT
    return min(most, 1000), min(wait, timedelta(minutes=1))


def checked(found: tuple[AppSubscription, ...]) -> tuple[AppSubscription, ...]:
    """*found*, where it is no more than an app may ask for; raises BadDeclaration."""
    if len(found) > MOST:
        raise BadDeclaration(f"the app declares {len(found)} subscriptions, at most {MOST} are taken")
    for one in found:
        where = f"of topic {one.topic!r} of pubsub {one.pubsub!r}"
        if not one.pubsub or not one.topic:
            raise BadDeclaration(f"a subscription {where} needs both names")
        if len(one.rules) > MOST_RULES:
            raise BadDeclaration(f"the subscription {where} has {len(one.rules)} rules, at most {MOST_RULES} are taken")
    return found


def _convert(body: bytes, type_: type[_Said]) -> _Said:
    """*body* as *type_*; raises msgspec's DecodeError."""
    return msgspec.convert(_lowered(msgspec.json.decode(body)), type_)


def _lowered(value: Any) -> Any:
    if isinstance(value, list):
        return [_lowered(one) for one in value]
    if not isinstance(value, dict):
        return value
    lower = {name.lower(): one for name, one in value.items()}
    return {name: one if name == "metadata" else _lowered(one) for name, one in lower.items()}


def _routed(one: _Subscription) -> bool:
    return bool(one.route or (one.routes and (one.routes.default or one.routes.rules)))


def _read(one: _Subscription) -> AppSubscription:
    routes = one.routes or _Routes()
    bulk = one.bulk or _Bulk()
    size, wait = bulk_of(bulk.count, bulk.wait_ms) if bulk.enabled else (0, timedelta(0))
    return AppSubscription(
        pubsub=one.pubsubname,
        topic=one.topic,
        path=routes.default or one.route or "",
        rules=tuple(Rule(match=rule.match.strip(), path=rule.path) for rule in routes.rules or ()),
        metadata=one.metadata or {},
        dead_letter=one.dead_letter or "",
        bulk=size,
        bulk_wait=wait,
    )
