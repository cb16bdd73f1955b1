"""Cold start: from the fork request to the zygote until the first HTTP reply, with the socket bound before.

python benchmarks/cold_start.py [-n 200] [--source DIR] [--target NAME]
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from functions_framework import zygote_wire as wire

EVENT = b'{"specversion":"1.0","id":"1","source":"/b","type":"t","data":{"celsius":31}}'
POST = (
    b"POST / HTTP/1.1\r\nHost: f\r\nevoke-trigger: t\r\nContent-Type: application/cloudevents+json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(EVENT), EVENT)
)
HANDLER = "import functions_framework as ff\n\n\n@ff.cloud_event\nasync def handle(event):\n    return None\n"


class Control:
    """A blocking connection to a zygote."""

    def __init__(self, path: str) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(path)
        self.file = self.stream.makefile("rb")

    def send(self, request: wire.Request, descriptors: list[int]) -> None:
        """Send one request with its descriptors."""
        socket.send_fds(self.stream, [msgspec.json.encode(request) + b"\n"], descriptors)

    def reply(self) -> wire.Reply:
        """Read one reply."""
        return msgspec.json.decode(self.file.readline(), type=wire.Reply)


def one(control: Control, directory: str, source: str, target: str, number: int) -> float:
    """Milliseconds from the request to the reply of one fresh replica."""
    path = f"{directory}/r{number}.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    reader, writer = os.pipe()
    log = os.open(os.devnull, os.O_WRONLY)
    started = time.perf_counter()
    fork = wire.Fork(id=f"r{number}", source=source, target=target, env={"EVOKE_LOG": "json"})
    control.send(fork, [listener.fileno(), log, writer])
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(POST)
    answer = client.recv(4096)
    took = (time.perf_counter() - started) * 1000
    assert answer.startswith(b"HTTP/1.1 200"), answer
    for descriptor in (reader, writer, log):
        os.close(descriptor)
    listener.close()
    client.close()
    assert isinstance(control.reply(), wire.Started)
    control.send(wire.Signal(id=fork.id, number=9), [])
    assert isinstance(control.reply(), wire.Exited)
    return took


def main() -> None:
    """Measure and print the percentiles."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--source", default="")
    parser.add_argument("--target", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "main.py").write_text(HANDLER)
        path = f"{directory}/zygote.sock"
        zygote = subprocess.Popen([sys.executable, "-P", "-m", "functions_framework.zygote", "--socket", path])
        try:
            while not Path(path).exists():
                time.sleep(0.01)
            control = Control(path)
            source = arguments.source or directory
            times = sorted(one(control, directory, source, arguments.target, n) for n in range(arguments.n))
        finally:
            zygote.kill()
            zygote.wait()
    p99 = times[min(len(times) - 1, round(len(times) * 0.99))]
    print(f"n={len(times)} min {times[0]:.1f} p50 {statistics.median(times):.1f} p99 {p99:.1f} max {times[-1]:.1f} ms")


if __name__ == "__main__":
    main()
