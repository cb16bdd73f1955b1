"""Event sources on a whole platform: a webhook, the clock, Redis; and what survives kills of broker and proxy."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

from tests.platform import Platform, started, until
from tests.redis import Redis, start_redis

pytestmark = pytest.mark.platform

CODE = """
import os
import functions_framework as ff

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def keep(event):
    os.write(RECEIPTS, f"{event['source']} {event['type']} {event['id']} {event.get('subject', '')}\\n".encode())
"""
MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: keep}}
spec:
  serving:
    triggers:
      dapr: [{{name: default, type: pubsub, topic: default.in.unused}}]
    params: {{RECEIPTS: "{receipts}"}}
---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: hooks}}
spec:
  http:
    push: {{}}
    signed: {{path: /in/signed, secretFrom: {{secretRef: {{name: hook, key: secret}}}}}}
  sink: {{ref: {{kind: Function, name: keep}}}}
---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: clock}}
spec:
  cron:
    tick: {{schedule: "@every 1s", missed: all}}
  sink: {{ref: {{kind: Function, name: keep}}}}
---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: stock}}
spec:
  redis:
    orders: {{redisHost: "{host}"}}
  sink: {{ref: {{kind: Function, name: keep}}}}
"""
SECRET = "It's a Secret to Everybody"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    made = start_redis(tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, server: Redis) -> Iterator[Platform]:
    project = tmp_path_factory.mktemp("project")
    (project / "main.py").write_text(CODE)
    manifest = MANIFEST.format(receipts=project / "receipts", host=server.host)
    (project / "platform.yaml").write_text(manifest)
    with started(project) as made:
        made.evoke("secret", "set", "hook", "secret", text=SECRET)
        made.wait_ready("keep")
        until(lambda: all(ready(made, name) for name in ("hooks", "clock", "stock")), what="the sources")
        yield made


def ready(platform: Platform, name: str) -> bool:
    found: dict[str, Any] = json.loads(platform.evoke("get", "eventsources", name, "-o", "json").stdout)
    conditions = found.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def receipts(platform: Platform, source: str) -> list[list[str]]:
    """Type, id and subject of each event of *source*, as the function saw them."""
    path = platform.project / "receipts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(" ")[1:] for line in lines if line.startswith(source + " ")]


def post(platform: Platform, path: str, body: str, *headers: str) -> int:
    """Deliver with curl; the status, 0 where there is no answer."""
    words = [word for header in headers for word in ("-H", header)]
    url = f"http://{platform.platform()['http']}{path}"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *words, "--data-binary", body, url]
    return int(subprocess.run(command, capture_output=True, text=True, check=False).stdout or 0)


def test_a_webhook_runs_a_function(platform: Platform) -> None:
    for _ in range(2):
        assert post(platform, "/webhook/default/hooks/push/a/b", '{"n": 1}', "X-GitHub-Delivery: d1") == 202
    assert post(platform, "/webhook/default/hooks/push", "{}", "Content-Type: application/cloudevents+json") == 400
    until(lambda: receipts(platform, "webhook://hooks/push"), what="the event")
    assert receipts(platform, "webhook://hooks/push") == [["io.evoke.http.request", "d1", "a/b"]]


def test_a_signed_webhook_takes_what_is_signed(platform: Platform) -> None:
    signature = hmac.new(SECRET.encode(), b"x", hashlib.sha256).hexdigest()
    assert post(platform, "/in/signed", "x") == 401
    assert post(platform, "/in/signed", "y", f"X-Hub-Signature-256: sha256={signature}") == 401
    assert post(platform, "/in/signed", "x", f"X-Hub-Signature-256: sha256={signature}") == 202
    until(lambda: receipts(platform, "webhook://hooks/signed"), what="the event")
    assert len(receipts(platform, "webhook://hooks/signed")) == 1


def test_nothing_goes_through_a_webhook_but_requests(platform: Platform) -> None:
    done = platform.evoke("publish", "any", "--source", "hooks.push", "-d", "{}", check=False)
    assert done.returncode == 1
    assert "POST to the gateway: /webhook/default/hooks/push" in done.stderr


def test_no_tick_is_lost_or_doubled_when_proxy_and_broker_are_killed(platform: Platform) -> None:
    def ticks() -> list[str]:
        return [id_ for type_, id_, _ in receipts(platform, "cron://clock/tick") if type_ == "io.evoke.cron.tick"]

    until(lambda: len(ticks()) >= 2, what="ticks")
    platform.kill("controller")
    platform.kill("plane")
    platform.kill("nats")
    before = len(ticks())
    until(lambda: len(ticks()) >= before + 6, what="ticks after the kills")
    seen = [one[:19] for one in sorted(set(ticks()))]
    assert seen == seconds(seen[0], len(seen))


def seconds(first: str, count: int) -> list[str]:
    start = datetime.fromisoformat(first)
    return [f"{start + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S}" for number in range(count)]


def test_entries_of_redis_arrive_though_the_proxy_is_killed(platform: Platform, server: Redis) -> None:
    with redis.Redis(port=server.port) as client:
        sent = []
        for number in range(60):
            place = client.xadd("orders", {"data": number})
            assert isinstance(place, bytes)
            sent.append(place.decode())
            if number == 30:
                platform.kill("plane")
        until(lambda: {id_ for _, id_, _ in receipts(platform, "redis://stock/orders")} >= set(sent), what="entries")
