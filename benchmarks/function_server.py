"""The function server against uvicorn with the same App: one event a POST, and Dapr bulk of 100, over a Unix socket.

python benchmarks/function_server.py [--seconds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import time
from pathlib import Path

from functions_framework import server
from functions_framework.app import App
from functions_framework.asgi import asgi_app
from functions_framework.loader import load

HANDLER = "import functions_framework as ff\n\n\n@ff.cloud_event\n{how} handle(event):\n    event.data\n"


def event(number: int) -> dict[str, object]:
    """One event of about 300 bytes."""
    return {
        "specversion": "1.0",
        "id": f"id-{number}",
        "source": "mqtt://readings/kitchen",
        "type": "io.evoke.mqtt.message",
        "subject": "sensors/kitchen",
        "partitionkey": f"sensors/{number}",
        "time": "2026-01-31T12:00:00Z",
        "data": {"celsius": 31, "humidity": 0.4, "text": "x" * 60},
    }


def post(body: bytes, kind: str) -> bytes:
    """Request bytes as the proxy sends them."""
    head = "POST / HTTP/1.1\r\nhost: f\r\nevoke-trigger: t\r\nevoke-epoch: 1\r\nevoke-timeout: 600\r\n"
    return f"{head}content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def single() -> bytes:
    """One event."""
    return post(json.dumps(event(1)).encode(), "application/cloudevents+json")


def bulk(count: int) -> bytes:
    """Many events."""
    kind = "application/cloudevents+json"
    entries = [{"entryId": str(n), "event": event(n), "contentType": kind, "metadata": {}} for n in range(count)]
    return post(
        json.dumps({"id": "1", "entries": entries, "type": "com.dapr.event.sent.bulk"}).encode(), "application/json"
    )


def serve(kind: str, path: str, source: str) -> int:
    """Fork a server; returns its pid."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    pid = os.fork()
    if pid == 0:
        app = App(load(source), {})
        if kind == "own":
            server.run(app, [listener], environ={})
        else:
            import uvicorn

            config = uvicorn.Config(asgi_app(app), loop="uvloop", http="httptools", log_level="error", access_log=False)
            uvicorn.Server(config).run(sockets=[listener])
        os._exit(0)
    listener.close()
    return pid


def rate(path: str, request: bytes, seconds: float) -> float:
    """Requests a second on one connection, one at a time."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    count, started = 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        client.sendall(request)
        answer = client.recv(1 << 16)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += client.recv(1 << 16)
        assert head.startswith(b"HTTP/1.1 200"), answer
        count += 1
    client.close()
    return count / (now - started)


def cpu(pid: int) -> float:
    """Processor seconds of a process so far: steadier than the wall on a shared machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(pid: int, path: str, request: bytes, seconds: float, events: int) -> str:
    """Events a second, and processor time of the server for each."""
    before = cpu(pid)
    found = rate(path, request, seconds) * events
    return f"{found:8.0f}/s {(cpu(pid) - before) * 1e6 / (found * seconds):6.1f} us"


def main() -> None:
    """Print events a second of each server and load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory:
        for how in ("async def", "def"):
            source = Path(directory) / "main.py"
            source.write_text(HANDLER.format(how=how))
            for kind in ("own", "uvicorn", "own", "uvicorn"):
                path = f"{directory}/{time.monotonic_ns()}.sock"
                pid = serve(kind, path, str(source))
                rate(path, single(), 0.3)
                one = measured(pid, path, single(), seconds, 1)
                many = measured(pid, path, bulk(100), seconds, 100)
                print(f"{how:9} {kind:8} one a POST {one}   bulk of 100 {many}")
                os.kill(pid, 9)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
