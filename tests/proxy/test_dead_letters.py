"""Whose dead letters a name stands for."""

from __future__ import annotations

from api.meta import Key, RevisionKey
from api.model import Backend, Subscription
from proxy.dead_letters import concerned

BUS = Key("default", "default")
BACKENDS = (Backend(revision=RevisionKey("default", "weigh", "weigh-00001")),)


def subscribed(name: str, trigger: str, backends: tuple[Backend, ...] = BACKENDS) -> Subscription:
    return Subscription(key=Key("default", name), bus=BUS, subject="s", group=name, trigger=trigger, backends=backends)


def test_a_functions_name_stands_for_all_it_is_subscribed_to() -> None:
    own = subscribed("async.weigh", "weigh")
    triggered = subscribed("scales.weigh.reading", "scales")
    elsewhere = subscribed("scales.other.reading", "scales", ())

    assert concerned([own, triggered, elsewhere], "weigh") == [own, triggered]
    assert concerned([own, triggered, elsewhere], "scales") == [triggered, elsewhere]
    assert concerned([own, triggered, elsewhere], "scales.other.reading") == [elsewhere]
    assert concerned([own, triggered, elsewhere], "nobody") == []
