"""Apps that know nothing of Evoke: woken by their first event, scaled, killed, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.platform import DEADLINE, until
from tests.platform_apps.world import World

pytestmark = pytest.mark.platform
NODE = pytest.param(
    "node",
    marks=pytest.mark.skipif(not shutil.which("node") and not os.environ.get("CI"), reason="apt-get install nodejs"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("apps"))
    health = {"dapr.io/enable-app-health-check": "true", "dapr.io/app-health-probe-interval": "1"}
    world.python("raw").python("one", **{"dapr.io/app-max-concurrency": "1"}).python(
        "sick", **health
    ).calls().fast().python("web", "{http: {}}")
    if shutil.which("node"):
        world.node()
    try:
        yield world.up()
    finally:
        world.close()


@pytest.mark.parametrize("name", ["raw", "calls", "fast", NODE])
def test_the_first_event_wakes_an_app_and_quiet_ends_it(world, name):
    world.platform.wait_ready(name)
    world.wait_idle(name)

    world.publish(name, {"n": 1}, by=name)

    world.wait(name, {1})
    world.wait_idle(name)
    assert [one["n"] for one in world.handed(name)] == [1]


def test_apps_speak_to_each_other_through_the_api(world):
    world.publish("calls", {"n": 100, "then": "raw"}, by="raw")
    world.publish("raw", {"n": 200, "then": "calls"}, by="raw")

    world.wait("raw", {100, 200})
    world.wait("calls", {100, 200})


def test_an_app_is_invoked_from_zero(world):
    world.wait_idle("raw")

    said = world.call("POST", "/v1.0/invoke/raw/method/hello", {"who": "you"}, by="calls")

    assert said["said"] == {"who": "you"}
    assert said["pid"] in world.running("raw")


def test_a_web_server_is_reached_through_the_gateway_from_zero(world):
    world.wait_idle("web")
    url = f"http://{world.platform.platform()['http']}/function/default/web/greet"
    with urllib.request.urlopen(urllib.request.Request(url, b'{"who": "you"}'), timeout=DEADLINE) as reply:
        said = json.loads(reply.read())

    assert said["said"] == {"who": "you"}
    assert said["pid"] in world.running("web")


def test_slow_events_have_several_replicas_and_then_none(world):
    world.publish("one", *({"n": n, "sleep": 0.4} for n in range(12)), by="one")

    world.wait("one", set(range(12)))
    assert len({one["pid"] for one in world.handed("one")}) > 1
    world.wait_idle("one")


def test_a_killed_replica_loses_nothing(world):
    numbers = set(range(1000, 1030))
    world.publish("one", *({"n": n, "sleep": 0.05} for n in sorted(numbers)), by="one")
    until(lambda: world.numbers("one") & numbers, what="the first of them")

    for pid in world.running("one"):
        os.kill(pid, signal.SIGKILL)

    world.wait("one", numbers)


@pytest.mark.parametrize("role", ["plane", "controller", "zygote"])
def test_a_killed_process_of_the_platform_loses_nothing(world, role):
    start = {"plane": 2000, "controller": 3000, "zygote": 4000}[role]
    numbers = set(range(start, start + 30))
    world.publish("one", *({"n": n, "sleep": 0.05} for n in sorted(numbers)), by="one")
    until(lambda: world.numbers("one") & numbers, what="the first of them")
    before = set(world.running("one"))

    world.platform.kill(role)

    world.wait("one", numbers)
    if role == "controller":
        assert before & {one["pid"] for one in world.handed("one")[-5:]}  # adopted, not started again
    world.wait_idle("one")


def test_an_app_that_is_not_well_keeps_its_backlog(world):
    mark = world.out / "sick.sick"
    world.publish("sick", {"n": 1}, by="sick")
    world.wait("sick", {1})
    mark.touch()
    world.publish("sick", {"n": 2, "sleep": 4}, by="sick")  # it runs on, and keeps the replica from going
    until(lambda: "AppUnhealthy" in str(world.platform.status("sick")), what="AppUnhealthy")
    world.publish("sick", {"n": 3}, by="sick")
    world.wait("sick", {2})
    assert 3 not in world.numbers("sick")

    mark.unlink()

    world.wait("sick", {3})
    until(lambda: "AppUnhealthy" not in str(world.platform.status("sick")), what="well again")


def test_whoever_speaks_at_an_apps_own_address_is_that_app(world):
    found = world.platform.status("raw")["app"]
    request = urllib.request.Request(f"http://{found['http']}/v1.0/metadata")
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert b'"id":"raw"' in reply.read().replace(b": ", b":")

    request.add_header("dapr-api-token", "somebody-elses")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)
