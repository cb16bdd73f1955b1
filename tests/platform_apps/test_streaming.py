"""An app that takes its events by a stream: its subscription outlives it, and its events wake it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.platform import until
from tests.platform_apps.world import World

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("streams"))
    world.streaming()
    try:
        yield world.up()
    finally:
        world.close()


def test_a_stream_is_a_subscription_that_outlives_its_app(world):
    world.platform.wait_ready("streaming")
    world.wait_idle("streaming")
    assert world.numbers("streaming") == set()

    world.publish("streamed", *({"n": n} for n in range(20)), by="streaming")

    world.wait("streaming", set(range(20)))
    world.wait_idle("streaming")
    assert sorted(one["n"] for one in world.handed("streaming")) == list(range(20))


def test_an_app_that_dies_gets_what_it_had_not_answered_again(world):
    world.publish("streamed", {"n": 100, "die": True}, {"n": 101}, by="streaming")

    world.wait("streaming", {100, 101})
    until(lambda: [one["n"] for one in world.handed("streaming")].count(100) == 2, what="the event again")
    assert len({one["pid"] for one in world.handed("streaming") if one["n"] == 100}) == 2


@pytest.mark.parametrize("role", ["plane", "controller"])
def test_a_stream_survives_the_end_of_its_other_side(world, role):
    start = {"plane": 1000, "controller": 2000}[role]
    numbers = set(range(start, start + 40))
    world.publish("streamed", *({"n": n, "sleep": 0.05} for n in sorted(numbers)), by="streaming")
    until(lambda: world.numbers("streaming") & numbers, what="the first of them")

    world.platform.kill(role)

    world.wait("streaming", numbers)
    world.wait_idle("streaming")
    world.publish("streamed", {"n": start + 100}, by="streaming")
    world.wait("streaming", {start + 100})


def test_each_of_several_proxies_is_the_home_of_some_streams(tmp_path):
    names = [f"streaming{n}" for n in range(4)]
    spread = World(tmp_path)
    for name in names:
        spread.streaming(name)
    try:
        spread.up("--proxies", "2")
        for name in names:
            spread.platform.wait_ready(name)
        spread.wait_idle(*names)
        spread.publish("streamed", *({"n": n} for n in range(10)), by=names[0])
        for name in names:
            spread.wait(name, set(range(10)))
        assert all(len(spread.handed(name)) == 10 for name in names)
    finally:
        spread.close()
