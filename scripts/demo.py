"""The main job on real events: fifty vehicles over MQTT, a filter, two event functions and one that answers HTTP.

Runs samples/fleet unchanged in a temporary project, drives it through public interfaces only (MQTT, HTTP, the evoke
command and its sockets), shows a live table, checks that nothing acknowledged was lost, and cleans up.
Exit 0 when everything was delivered, 1 otherwise.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
EVOKE = Path(sys.executable).with_name("evoke")
FUNCTIONS = ("low-battery", "notify", "fleet")
VEHICLES = 50
ROUNDS = ((8.0, 1.0), (6.0, 0.1), (4.0, 1.0))
"""(seconds, pause between two messages of a vehicle): calm, rush, calm."""
LOW = 20
PATIENCE = 60.0
"""Seconds that draining, and going to zero, may take before the demo calls it a failure."""


@dataclass
class Sent:
    """What the vehicles published and what the broker acknowledged."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    messages: int = 0
    acked: int = 0
    low: set[tuple[str, float]] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)


class Vehicle:
    """One MQTT client of its own, publishing at QoS 1."""

    def __init__(self, name: str, address: str, sent: Sent, seed: int) -> None:
        self.name, self._sent, self._chance = name, sent, random.Random(seed)
        self._battery = self._chance.randint(15, 100)
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
        self._client.on_publish = self._acknowledged
        host, _, port = address.rpartition(":")
        self._client.connect(host, int(port))
        self._client.loop_start()

    def _acknowledged(self, *_: Any) -> None:
        with self._sent.lock:
            self._sent.acked += 1

    def publish(self) -> None:
        self._battery = max(1, self._battery - self._chance.randint(0, 2)) if self._battery > 1 else 100
        reading = {
            "vehicle": self.name,
            "battery": self._battery,
            "sent_at": time.time(),
            "speed": self._chance.randint(0, 90),
        }
        with self._sent.lock:
            self._sent.messages += 1
            self._sent.last[self.name] = self._battery
            if self._battery < LOW:
                self._sent.low.add((self.name, reading["sent_at"]))
        self._client.publish(f"fleet/{self.name}/telemetry", json.dumps(reading), qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Controller:
    """The resource API of the platform, on its Unix socket."""

    def __init__(self, state: Path) -> None:
        self._path = (state / "run").resolve() / "controller.sock"

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        try:
            connection.sock.connect(str(self._path))
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def status(self, function: str) -> Any:
        return self.get(f"/v1/functions/default/{function}/status")


class Demo:
    """One run: its project, its platform, and what was seen on the way."""

    def __init__(self, project: Path, console: Console) -> None:
        self.project, self.console = project, console
        self.controller = Controller(project / ".evoke")
        self.alerts = project / "alerts.jsonl"
        self.sent = Sent()
        self.peak = dict.fromkeys(FUNCTIONS, 0)
        self.started = time.monotonic()
        self.statuses: dict[str, Any] = {}

    def prepare(self) -> None:
        """Copy the sample; the two places where it writes are pointed into the project, nothing else changes."""
        shutil.copytree(ROOT / "samples" / "fleet", self.project, dirs_exist_ok=True)
        manifest = self.project / "evoke.yaml"
        documents = list(yaml.safe_load_all(manifest.read_text()))
        params = {"notify": {"ALERTS": str(self.alerts)}, "fleet": {"FLEET_DB": str(self.project / "fleet.db")}}
        for document in documents:
            if document["kind"] == "Function" and (own := params.get(document["metadata"]["name"])):
                document["spec"]["serving"]["params"] = own
        manifest.write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def evoke(self, *words: str) -> None:
        done = subprocess.run(
            [EVOKE, *words], cwd=self.project, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"evoke {' '.join(words)} failed\n{done.stdout}{done.stderr}")

    def look(self) -> None:
        for name in FUNCTIONS:
            self.statuses[name] = self.controller.status(name)
            self.peak[name] = max(self.peak[name], len(self.ready(name)))

    def ready(self, name: str) -> list[Any]:
        return [r for r in self.statuses.get(name, {}).get("replicas", []) if r["phase"] == "ready"]

    def handled(self) -> list[Any]:
        if not self.alerts.exists():
            return []
        with self.alerts.open() as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def table(self, stage: str) -> Table:
        table = Table(
            title=f"{stage} · {time.monotonic() - self.started:4.0f} s · {self.sent.acked} events acknowledged"
        )
        for column in ("function", "replicas", "in", "done", "lag", "in flight", "p50", "p99", "dead"):
            table.add_column(column, justify="left" if column == "function" else "right")
        for name in FUNCTIONS:
            readings = self.statuses.get(name, {}).get("subscriptions", [])
            total = {
                key: sum(r.get(key, 0) for r in readings) for key in ("arrived", "done", "lag", "in_flight", "dead")
            }
            worst = {
                key: max((r.get(key, 0.0) for r in readings), default=0.0) for key in ("wait_p50_ms", "wait_p99_ms")
            }
            table.add_row(
                name,
                str(len(self.ready(name))),
                *(str(total[key]) for key in ("arrived", "done", "lag", "in_flight")),
                f"{worst['wait_p50_ms']:.1f} ms",
                f"{worst['wait_p99_ms']:.1f} ms",
                str(total["dead"]),
            )
        return table

    def drive(self, live: Live, seed: int) -> None:
        """Let the vehicles publish, each in its own rhythm, until the rounds are over."""
        address = self.controller.get("/v1/platform")["mqtt"]
        vehicles = [Vehicle(f"v-{n:02d}", address, self.sent, seed + n) for n in range(VEHICLES)]
        try:
            for seconds, pause in ROUNDS:
                end, at = time.monotonic() + seconds, time.monotonic()
                shown = 0.0
                while time.monotonic() < end:
                    for vehicle in vehicles:
                        vehicle.publish()
                        at += pause / VEHICLES
                        time.sleep(max(0.0, at - time.monotonic()))
                        if time.monotonic() - shown > 0.25:
                            shown = time.monotonic()
                            self.look()
                            live.update(self.table(f"{VEHICLES} vehicles, a message each {pause:g} s"))
            self.wait(live, "every publish acknowledged", lambda: self.sent.acked >= self.sent.messages)
        finally:
            for vehicle in vehicles:
                vehicle.close()

    def wait(self, live: Live, what: str, done: Any) -> bool:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.look()
            live.update(self.table(f"waiting: {what}"))
            if done():
                return True
            time.sleep(0.1)
        return False

    def ask_fleet(self) -> Any:
        url = f"http://{self.controller.get('/v1/platform')['http']}/function/default/fleet"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)

    def everything_done(self) -> bool:
        lag = sum(r.get("lag", 0) for status in self.statuses.values() for r in status["subscriptions"])
        return lag == 0 and not self.missing()

    def missing(self) -> set[tuple[str, float]]:
        return self.sent.low - {(alert["vehicle"], alert["sent_at"]) for alert in self.handled()}


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else float("nan")


def summary(demo: Demo, state: Any, at_zero: bool) -> int:
    """Print what happened; answer the exit code."""
    alerts = demo.handled()
    waits = [(alert["handled_at"] - alert["sent_at"]) * 1000 for alert in alerts]
    dead = sum(status.get("deadLetters", 0) for status in demo.statuses.values())
    lost = max(0, len(demo.missing()) - dead)
    wrong = {name for name, battery in demo.sent.last.items() if state["battery"].get(name) != battery}
    colds = {name: status.get("cold_start_ms") for name, status in demo.statuses.items()}
    say = demo.console.print
    say(f"sent           {demo.sent.messages} events from {VEHICLES} vehicles, {demo.sent.acked} acknowledged")
    say(f"delivered      {len(alerts)} alerts of {len(demo.sent.low)} events below {LOW} %, through two functions")
    say(f"dead-lettered  {dead}")
    say(f"lost           {lost}")
    say(f"fleet state    {state['vehicles']} vehicles over HTTP, {len(wrong)} out of date")
    say(
        "replicas       " + ", ".join(f"{name} 0 -> {demo.peak[name]} -> {len(demo.ready(name))}" for name in FUNCTIONS)
    )
    say("cold start     " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in colds.items() if ms))
    say(f"latency        p50 {percentile(waits, 0.5):.0f} ms, p99 {percentile(waits, 0.99):.0f} ms, vehicle to notify")
    failures = [
        *(["events were lost"] if lost else []),
        *(["publishes were not acknowledged"] if demo.sent.acked < demo.sent.messages else []),
        *(["the fleet state is out of date"] if wrong or state["vehicles"] != VEHICLES else []),
        *(["a function did not go back to zero"] if not at_zero else []),
        *(["a function never started"] if not all(demo.peak.values()) else []),
    ]
    for failure in failures:
        say(f"FAILED: {failure}", style="red")
    return 1 if failures else 0


def run(demo: Demo, keep: bool, seed: int) -> int:
    console = demo.console
    demo.prepare()
    console.print(f"starting Evoke on a copy of samples/fleet (seed {seed})")
    demo.evoke("up", "-d", "--no-watch")
    try:
        demo.evoke("apply", "-f", "evoke.yaml", "--wait", "--timeout", "60")
        demo.look()
        with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
            demo.drive(live, seed)
            demo.wait(live, "every event handled", demo.everything_done)
            state = demo.ask_fleet()
            at_zero = demo.wait(live, "back to zero", lambda: not any(map(demo.ready, FUNCTIONS)))
        return summary(demo, state, at_zero)
    finally:
        if not keep:
            demo.evoke("down")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the platform running and say what to type next")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "7")))
    options = parser.parse_args()
    console = Console()
    project = Path(tempfile.mkdtemp(prefix="evoke-demo-"))
    code = 1
    try:
        code = run(Demo(project, console), options.keep, options.seed)
    finally:
        if options.keep:
            console.print(
                f"\nstill running; next:\n  export PATH={EVOKE.parent}:$PATH; cd {project}\n  evoke get all\n"
                "  evoke invoke fleet\n  evoke publish fleet/v-99/telemetry --source fleet "
                """-d '{"vehicle": "v-99", "battery": 3, "sent_at": 0}'\n"""
                "  evoke logs notify\n  evoke top\n  evoke down --purge --yes",
                highlight=False,
            )
        else:
            shutil.rmtree(project, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
