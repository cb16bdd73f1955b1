"""Memory of the idle platform, and the time from a save in the editor to the first answer of the new code.

python benchmarks/idle_and_reload.py [-n 20]

Memory is the sum of PSS over all processes, after SETTLED seconds without work and with every function at zero. The
reload is measured over HTTP with one replica running: from the write of main.py until a reply holds the new text.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.platform import Platform, processes, until

CODE = "import functions_framework as ff\n\n\n@ff.http\ndef hello(request):\n    return 'answer {}'\n"
MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: hello}
spec:
  serving:
    triggers: {http: {}}
    scaleOptions: {minReplicas: 0, maxReplicas: 1}
"""
SETTLED = 5.0


class Watched(Platform):
    def up(self) -> None:
        self.evoke("up", "-d")


def memory(platform: Platform) -> dict[str, float]:
    """Role -> MB (PSS) of the supervisor and all below it."""
    found = list(processes())
    names = {pid: role for role, pid in platform.pids().items()}
    family = set(names)
    for _ in range(3):
        family |= {pid for pid, parent, _ in found if parent in family}
    sizes: dict[str, float] = {}
    for pid in family:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        name = names.get(pid, "replicas")
        sizes[name] = sizes.get(name, 0.0) + pss * 1024 / 1e6
    return sizes


def reload(platform: Platform, project: Path, number: int) -> float:
    """Milliseconds from a save to the first reply of the new code."""
    host, _, port = platform.platform()["http"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    began = time.monotonic()
    (project / "main.py").write_text(CODE.format(number))
    while True:
        connection.request("GET", "/function/default/hello")
        if connection.getresponse().read() == f"answer {number}".encode():
            connection.close()
            return (time.monotonic() - began) * 1000
        time.sleep(0.002)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=20)
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "main.py").write_text(CODE.format(0))
        (project / "function.yaml").write_text(MANIFEST)
        platform = Watched(project)
        platform.up()
        try:
            platform.wait_ready("hello")
            time.sleep(SETTLED)
            sizes = memory(platform)
            print("\n| process | PSS MB |\n|---|---|")
            for name, size in sorted(sizes.items()):
                print(f"| {name} | {size:.1f} |")
            print(f"| all | {sum(sizes.values()):.1f} |")
            reload(platform, project, 1)
            until(lambda: platform.replicas("hello"), what="a replica")
            times = []
            for number in range(arguments.n):
                time.sleep(1.0)  # a person reads the answer before the next save
                times.append(reload(platform, project, number + 2))
        finally:
            platform.down()
    times.sort()
    p50, p90 = times[len(times) // 2], times[int(len(times) * 0.9)]
    spread = f"min {times[0]:.0f} p50 {p50:.0f} p90 {p90:.0f} max {times[-1]:.0f} ms"
    print(f"\nsave -> first new answer: n={len(times)} {spread}")


if __name__ == "__main__":
    main()
