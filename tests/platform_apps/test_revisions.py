"""An app is changed while events come: what it is saved as runs at once, also where it insists on its port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.platform import free
from tests.platform import until
from tests.platform_apps.world import World

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("revisions"))
    port = next(port for port in range(7100, 7999) if free(port))
    world.python("told").python("fixed", **{"dapr.io/app-port": str(port)})
    try:
        yield world.up(watch=True)
    finally:
        world.close()


@pytest.mark.parametrize("name", ["told", "fixed"])
def test_a_saved_app_takes_over_and_no_event_is_lost(world, name):
    world.platform.wait_ready(name)
    source = world.platform.project / name / "raw.py"
    world.publish(name, *({"n": n, "sleep": 0.02} for n in range(40)), by=name)
    until(lambda: world.numbers(name), what="the first of them")

    source.write_text(source.read_text().replace('"pid": os.getpid()}', '"pid": os.getpid(), "new": True}'))
    until(lambda: len(world.platform.status(name)["revisions"]) == 2, what="a second revision")
    world.publish(name, *({"n": n} for n in range(40, 60)), by=name)

    world.wait(name, set(range(60)))
    until(lambda: _renewed(world, name), what="the new revision")


def _renewed(world: World, name: str) -> bool:
    world.publish(name, {"n": 1000}, by=name)
    return any("new" in one for one in world.handed(name))


def test_a_fixed_port_is_one_replica_and_says_so(world):
    world.publish("fixed", *({"n": n, "sleep": 0.2} for n in range(2000, 2010)), by="fixed")
    world.wait("fixed", set(range(2000, 2010)))

    assert len({one["pid"] for one in world.handed("fixed") if one["n"] >= 2000}) == 1
    conditions = {one["type"]: one for one in world.platform.status("fixed")["conditions"]}
    assert "at most one replica on this machine" in conditions["Accepted"]["message"]
