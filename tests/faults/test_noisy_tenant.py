"""One namespace floods the Dapr API: it is told to wait, and another one loses nothing and is never refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from api import platform as facts
from api.meta import Key
from replicas.http import HttpClient
from tests.platform import Platform, started, until

pytestmark = pytest.mark.platform
QUIET, FLOOD = 300, 3000
CALLERS = 1000
"""Of the flood, at the same time; an app may have 512 calls under way."""

FUNCTION = """
import os
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def keep(event):
    os.write(CALLS, f"{event.data}\\n".encode())
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: keep, namespace: {namespace}}}
spec:
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: jobs}}]}}
    params: {{CALLS: "{calls}"}}
    scaleOptions: {{minReplicas: 1, maxReplicas: 1}}
"""


async def publish(client: HttpClient, here: facts.Platform, namespace: str, number: int) -> int:
    headers = [
        (b"host", b"dapr"),
        (b"content-type", b"application/json"),
        (b"dapr-api-token", here.token(Key(namespace, "keep")).encode()),
    ]
    target = "/v1.0/publish/default/jobs"
    response = await client.request(here.dapr, "POST", target, headers, json.dumps(number).encode(), timeout=60.0)
    await response.read(1 << 16)
    return response.status


async def flood(here: facts.Platform) -> tuple[Counter[int], list[int]]:
    """What the noisy namespace was answered, and what the quiet one was meanwhile."""
    client = HttpClient()
    noisy: Counter[int] = Counter()
    numbers = iter(range(FLOOD))

    async def caller() -> None:
        for number in numbers:
            noisy[await publish(client, here, "noisy", number)] += 1

    try:
        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        quiet = [await publish(client, here, "default", number) for number in range(QUIET)]
        await asyncio.gather(*callers)
    finally:
        await client.aclose()
    return noisy, quiet


def lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()]


def ready(it: Platform, namespace: str) -> bool:
    status = it.request("GET", f"/v1/functions/{namespace}/keep/status")
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"])


def test_a_flood_is_its_own_problem(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text(FUNCTION)
    calls = {name: tmp_path / name for name in ("default", "noisy")}
    for path in calls.values():
        path.touch()
    manifests = (MANIFEST.format(namespace=name, calls=path) for name, path in calls.items())
    (project / "function.yaml").write_text("---".join(manifests))

    with started(project) as it:
        for name in calls:
            until(lambda name=name: ready(it, name), what=f"the function of {name} ready")
        here = facts.load(it.state)
        assert here is not None
        noisy, quiet = asyncio.run(flood(here))
        until(lambda: len(lines(calls["default"])) >= QUIET, what="every event of the quiet namespace handled")
        until(lambda: len(lines(calls["noisy"])) >= noisy[204], what="what the noisy one got acknowledged handled")

    assert Counter(quiet) == {204: QUIET}
    assert sorted(lines(calls["default"])) == list(range(QUIET))
    assert set(noisy) == {204, 429}, noisy
    assert len(lines(calls["noisy"])) == noisy[204]
