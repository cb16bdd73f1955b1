"""Dapr's resources over a whole platform: retries, dead letter topics, conditions, changes while it runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform, until

pytestmark = pytest.mark.platform
YAML = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec: {type: pubsub.in-memory, version: v1, metadata: [{name: protectedTopics, value: secret}]}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: orders}
spec: {pubsubname: pubsub, topic: orders, routes: {default: /orders}, deadLetterTopic: dead}
---
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: dead}
spec: {pubsubname: pubsub, topic: dead, route: /dead}
---
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: forbidden}
spec: {pubsubname: pubsub, topic: secret, route: /orders}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: queue}
spec: {type: pubsub.pulsar, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: patience}
spec:
  policies: {retries: {few: {duration: 100ms, maxRetries: 4, matching: {httpStatusCodes: 500-599}}}}
  targets: {components: {pubsub: {inbound: {retry: few}}}}
scopes: [picky]
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: picky}
spec:
  serving:
    triggers: {}
    params: {OUT: OUT}
    template: {containers: [{name: function, command: [python3, picky.py]}]}
"""
LATER = """
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: later}
spec: {pubsubname: pubsub, topic: later, routes: {default: /later}}
"""


class World:
    def __init__(self, folder: Path) -> None:
        self.platform, self.out = Platform(folder / "project"), folder / "out"
        self.platform.project.mkdir()
        shutil.copy(Path(__file__).with_name("picky.py"), self.platform.project / "picky.py")
        (self.platform.project / "evoke.yaml").write_text(YAML.replace("OUT: OUT", f"OUT: {self.out}"))

    def publish(self, topic: str, **data: Any) -> None:
        self.platform.evoke("publish", topic, "--bus", "pubsub", "-d", json.dumps(data))

    def handed(self, path: str, name: str) -> list[str]:
        """Ids of the events with data *name* that came in at *path*."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return [one["id"] for one in map(json.loads, lines) if one["path"] == path and one["data"].get("name") == name]

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        found = json.loads(self.platform.evoke("get", kind, name, "-o", "json").stdout)
        conditions: list[dict[str, Any]] = found["status"]["conditions"]
        return next(one for one in conditions if one["type"] == type_)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("policies"))
    try:
        world.platform.up()
        yield world
    finally:
        world.platform.down()


def test_a_policy_of_four_retries_makes_five_calls_then_a_dead_letter(world: World) -> None:
    world.publish("orders", name="busy", status=503)

    until(lambda: world.handed("/dead", "busy"), what="the event is on the dead letter topic")
    calls = world.handed("/orders", "busy")
    assert (len(calls), set(calls)) == (5, set(world.handed("/dead", "busy")))


def test_what_a_policy_excludes_is_a_dead_letter_at_once(world: World) -> None:
    world.publish("orders", name="wrong", status=400)

    until(lambda: world.handed("/dead", "wrong"), what="the event is on the dead letter topic")
    assert len(world.handed("/orders", "wrong")) == 1


def test_conditions_say_what_is_not_in_force(world: World) -> None:
    forbidden = world.condition("subscription", "forbidden", "Accepted")
    queue = world.condition("component", "queue", "Accepted")

    assert (forbidden["status"], "topic secret is protected" in forbidden["message"]) == ("False", True)
    assert (queue["status"], queue["reason"]) == ("False", "NotYet")
    assert "pubsub.in-memory" in queue["message"]
    assert world.condition("component", "pubsub", "Connected")["status"] == "True"


def test_subscriptions_come_and_go_while_it_runs(world: World) -> None:
    world.platform.evoke("apply", "-f", "-", text=LATER)
    until(
        lambda: world.condition("subscription", "later", "Subscribed")["status"] == "True", what="a proxy has taken it"
    )
    world.publish("later", name="new", status=200)
    until(lambda: world.handed("/later", "new"), what="the new subscription delivers")

    world.platform.evoke("delete", "subscription", "later")
    world.publish("later", name="gone", status=200)
    world.publish("orders", name="after", status=200)
    until(lambda: world.handed("/orders", "after"), what="the others go on")
    assert world.handed("/later", "gone") == []
