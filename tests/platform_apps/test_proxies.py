"""Several proxies share the API of many apps: each app has its addresses at its home, whichever proxy that is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.platform import until
from tests.platform_apps.world import World

pytestmark = pytest.mark.platform
NAMES = ("first", "second", "third")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("proxies"))
    for name in NAMES:
        world.python(name)
    world.calls()
    try:
        yield world.up("--proxies", "2")
    finally:
        world.close()


def homes(world: World) -> dict[str, str]:
    """App -> pid of the process that listens at its own address."""
    found = {}
    listening = world.listeners()
    for name in NAMES:
        port = int(world.platform.status(name)["app"]["http"].rpartition(":")[2])
        found[name] = listening.get(port, 0)
    return found


def published(world: World, name: str, event: dict[str, object]) -> bool:
    """A proxy that was killed answers as soon as it is back, and takes events as soon as it has reached the bus."""
    world.publish(name, event, by=name)
    return True


def test_apps_are_spread_and_reach_their_api(world):
    world.platform.wait_ready(*NAMES, "calls")
    until(lambda: all(homes(world).values()), what="every app has its address served")

    for number, name in enumerate(NAMES):
        world.publish(name, {"n": number, "then": "calls"}, by=name)

    world.wait("calls", {0, 1, 2})
    assert len(set(homes(world).values())) > 1


def test_an_app_whose_home_is_killed_keeps_its_address(world):
    before = {name: world.platform.status(name)["app"]["http"] for name in NAMES}
    for number, pid in enumerate(set(homes(world).values())):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: all(homes(world).values()) and pid not in homes(world).values(), what="served again")
        for place, name in enumerate(NAMES):
            event = {"n": 100 + 10 * number + place, "then": "calls"}
            until(lambda name=name, event=event: published(world, name, event), what="a proxy that takes it")
        world.wait("calls", {100 + 10 * number + place for place in range(len(NAMES))})

    assert {name: world.platform.status(name)["app"]["http"] for name in NAMES} == before
    assert len(set(homes(world).values())) > 1  # a moment's absence moves nothing


def test_the_next_controller_leaves_every_app_where_it_is(world):
    before = homes(world)

    world.platform.kill("controller")
    until(lambda: len(world.platform.platform()["agents"]) == len(world.platform.planes()) + 1, what="all agents")

    until(lambda: homes(world) == before, what="every app is at its home")
