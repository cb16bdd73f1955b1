"""A backlog far larger than memory: the proxy holds a window of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import nats
import pytest

from api.meta import Key
from eventbus.subjects import topic
from tests.platform import Platform, processes, started, until

pytestmark = pytest.mark.platform
EVENTS = int(os.environ.get("BACKLOG_EVENTS", "1000000"))
SIZE = 1024
"""Bytes of an event."""
UNACKNOWLEDGED = 4000
"""What nats-server takes for one stream without an acknowledgement; it drops what is beyond its own limit."""
RESIDENT = 150 << 20
"""Bytes of memory that a proxy may have."""

FUNCTION = """
import os
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
async def slow(event):
    os.write(CALLS, (event["id"] + "\\n").encode())
"""

MANIFEST = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {{name: roomy}}
spec: {{nats: {{maxBytes: 4294967296}}}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: slow}}
spec:
  serving:
    triggers: {{dapr: [{{name: roomy, type: pubsub, topic: jobs}}]}}
    params: {{CALLS: "{calls}"}}
    concurrency: 4
    scaleOptions: {{minReplicas: 1, maxReplicas: 1}}
"""


def payloads() -> Iterator[tuple[str, bytes]]:
    """(subject, event) as the bus itself stores them."""
    jobs = topic(Key("default", "roomy"), "jobs")
    for number in range(EVENTS):
        event = {"specversion": "1.0", "id": str(number), "source": "/test", "type": "t", "data": "x" * (SIZE - 100)}
        yield jobs.event(str(number), "t", "/test"), json.dumps(event).encode()


async def store(platform: Platform) -> int:
    """Publish past our own API, which would take ten times as long; answers how many messages the stream has."""
    facts = json.loads((platform.state / "platform.json").read_text())
    connection = await nats.connect(f"nats://{facts['nats']}", user=facts["nats_user"], password=facts["nats_password"])
    try:
        stream = connection.jetstream()
        source = payloads()
        while part := list(islice(source, UNACKNOWLEDGED)):
            for subject, payload in part[:-1]:
                await connection.publish(subject, payload)
            await stream.publish(*part[-1])
        info = await stream.stream_info(topic(Key("default", "roomy"), "jobs").stream)
        return info.state.messages
    finally:
        await connection.close()


def resident(pid: int) -> int:
    """Bytes of a process in memory, at the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_memory_does_not_grow_with_a_backlog(tmp_path: Path) -> None:
    project, calls = tmp_path / "project", tmp_path / "calls"
    project.mkdir()
    calls.touch()
    (project / "main.py").write_text(FUNCTION)
    (project / "function.yaml").write_text(MANIFEST.format(calls=calls))

    def handled() -> int:
        return calls.read_bytes().count(b"\n")

    with started(project, "--durability=os") as platform:
        platform.wait_ready("slow")
        replica = platform.replicas("slow")[0]["pid"]
        os.kill(replica, signal.SIGSTOP)  # nothing is handled while the backlog grows
        assert asyncio.run(store(platform)) == EVENTS
        until(lambda: platform.status("slow")["subscriptions"][0]["lag"] >= EVENTS, what="all of it seen as waiting")
        before = platform.planes()
        os.kill(replica, signal.SIGCONT)
        until(lambda: handled() >= 10_000, what="the first of it handled")
        ids = calls.read_text().splitlines()
        assert len(ids) == len(set(ids)), "nothing twice while nothing failed"
        [killed] = platform.planes()
        grown = resident(killed)
        os.kill(killed, signal.SIGKILL)
        at = handled()
        until(lambda: handled() >= at + 10_000, what="a new proxy goes on")
        [fresh] = platform.planes()
        grown = max(grown, resident(fresh))

    assert before == [killed]
    assert fresh != killed
    print(f"{EVENTS} events of {SIZE} bytes waited; a proxy had at most {grown >> 20} MiB")
    assert grown < RESIDENT
    assert not [pid for pid, _, command in processes() if str(platform.run) in command]
