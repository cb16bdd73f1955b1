"""Cold start on the whole platform: an event, or a request, for a function at zero until its handler is entered.

python benchmarks/cold_start_platform.py [-n 100] [--peers 10] [event] [request]

The function goes to zero between two activations. Stages come from benchmarks/stages; the peer is the same handler
started as a fresh ``python -m functions_framework`` process, from its start until its first reply.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.platform import Platform, UnixConnection, started, until

CODE = """
import os, time
import functions_framework as ff

STAMPS = os.open(os.environ["STAMPS"], os.O_WRONLY | os.O_APPEND)

def entered():
    os.write(STAMPS, b"handler entered %d\\n" % time.monotonic_ns())

@ff.cloud_event
async def on_event(event):
    entered()

@ff.http
async def on_request(request):
    entered()
    return "hi"
"""
MANIFEST = """---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}}}
spec:
  serving:
    handler: main:{handler}
    triggers: {triggers}
    params: {{STAMPS: "{stamps}"}}
    scaleOptions: {{minReplicas: 0, maxReplicas: 1, keda: {{scaledObject: {{cooldownPeriod: 0}}}}}}
"""
ASLEEP = 0.3
"""Seconds at zero before an activation: the trigger is asleep, its doorbell armed."""
STAGES = (
    "sent",
    "want sent",
    "want received",
    "scale decided",
    "endpoints sent",
    "endpoints received",
    "fork requested",
    "request sent",
    "forked",
    "status line",
    "handler entered",
)


def write(project: Path, stamps: Path) -> None:
    stamps.touch()
    (project / "main.py").write_text(CODE)
    (project / "function.yaml").write_text(
        MANIFEST.format(name="event", handler="on_event", triggers="{dapr: [{name: default, topic: t}]}", stamps=stamps)
        + MANIFEST.format(name="request", handler="on_request", triggers="{http: {}}", stamps=stamps)
    )


def publish(platform: Platform) -> Callable[[], None]:
    connection = UnixConnection(platform.run / "plane-0.sock")
    event = {"specversion": "1.0", "source": "/b", "type": "t", "data": {}}
    count = iter(range(1 << 30))

    def send() -> None:
        body = json.dumps({**event, "id": f"{os.getpid()}-{next(count)}"})
        connection.request("POST", "/v1/namespaces/default/buses/default/publish?subject=t", body)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()

    return send


def request(platform: Platform) -> Callable[[], None]:
    host, _, port = platform.platform()["http"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def send() -> None:
        connection.request("GET", "/function/default/request")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b"hi")

    return send


SENDERS = {"event": publish, "request": request}


def activate(platform: Platform, function: str, send: Callable[[], None], stamps: Path) -> dict[str, float]:
    """Milliseconds from the sending to each stage of one activation."""
    until(lambda: not platform.status(function)["replicas"], what=f"{function} at zero")
    time.sleep(ASLEEP)
    stamps.write_bytes(b"")
    began = time.monotonic_ns()
    send()
    until(lambda: b"handler entered" in stamps.read_bytes(), what="handler entered")
    found = {"sent": 0.0}
    for line in stamps.read_text().splitlines():
        stage, _, at = line.rpartition(" ")
        found.setdefault(stage, (int(at) - began) / 1e6)
    return found


def measure(platform: Platform, function: str, send: Callable[[], None], stamps: Path, count: int) -> None:
    activate(platform, function, send, stamps)  # connections, and what Python imports late
    runs = [activate(platform, function, send, stamps) for _ in range(count)]
    times = sorted(run["handler entered"] for run in runs)
    print(f"\n{function}: {line(times)}\n\n| stage | p50 ms | p90 ms |\n|---|---|---|")
    for stage in STAGES:
        at = sorted(run[stage] for run in runs if stage in run)
        if at:
            print(f"| {stage} | {statistics.median(at):.2f} | {at[int(len(at) * 0.9)]:.2f} |")


def line(times: list[float]) -> str:
    times = sorted(times)
    p50, p90, p99 = (times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.9, 0.99))
    return f"n={len(times)} min {times[0]:.1f} p50 {p50:.1f} p90 {p90:.1f} p99 {p99:.1f} max {times[-1]:.1f} ms"


def peer(project: Path, stamps: Path) -> float:
    """Milliseconds from the start of a fresh process until its first reply."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "functions_framework", "--source", "main.py", "--target", "on_request"]
    began = time.monotonic()
    environment = {**os.environ, "STAMPS": str(stamps)}
    process = subprocess.Popen([*words, "--port", str(port)], cwd=project, env=environment, stderr=subprocess.DEVNULL)
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/")
                connection.getresponse().read()
                return (time.monotonic() - began) * 1000
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("functions", nargs="*", default=["event", "request"])
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        project, stamps = Path(folder) / "project", Path(folder) / "stamps"
        project.mkdir()
        write(project, stamps)
        os.environ |= {"EVOKE_STAMPS": str(stamps), "PYTHONPATH": str(Path(__file__).with_name("stages"))}
        with started(project) as platform:
            platform.wait_ready("event", "request")
            for function in arguments.functions:
                measure(platform, function, SENDERS[function](platform), stamps, arguments.n)
        for name in ("EVOKE_STAMPS", "PYTHONPATH"):
            del os.environ[name]
        print("\npeer, a fresh process:", line([peer(project, stamps) for _ in range(arguments.peers)]))


if __name__ == "__main__":
    main()
