"""The project that the fault tests run: MQTT events into one function that writes a receipt for each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from tests.faults.ledger import Ledger, Receipt

FUNCTION = """
import json, os, random, time
import functions_framework as ff

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND)
FAILURES = float(os.environ.get("FAILURES", "0"))

def receipt(entry):
    os.write(RECEIPTS, (json.dumps(entry) + "\\n").encode())

@ff.cloud_event
def ledger(event):
    sent = event.data
    time.sleep(sent.get("work", 0))
    if random.random() < FAILURES:
        raise RuntimeError("a failure that the test asked for")
    receipt({"id": sent["id"], "key": sent["key"], "n": sent["n"]})

@ff.http
def over_http(request):
    sent = request.get_json()
    time.sleep(sent.get("work", 0))
    receipt({"id": sent["id"], "key": sent["key"], "n": sent["n"]})
    return "done"
"""

MANIFEST = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: plant}}
spec:
  mqtt:
    readings: {{topic: ledger/#}}
  sink:
    ref: {{apiVersion: core.openfunction.io/v1beta2, kind: Function, name: ledger}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: ledger}}
spec:
  serving:
    triggers: {{http: {{}}}}
    concurrency: {concurrency}
    params: {{RECEIPTS: "{receipts}", FAILURES: "{failures}"}}
    delivery: {{retry: 50, backoff: {{initial: 50ms, cap: 1s}}}}
    scaleOptions: {{minReplicas: {low}, maxReplicas: {high}, keda: {{scaledObject: {{cooldownPeriod: {cooldown}}}}}}}
"""


def write(
    project: Path,
    ledger: Ledger,
    *,
    failures: float = 0.0,
    concurrency: int = 4,
    replicas: tuple[int, int] = (0, 4),
    cooldown: int = 300,
) -> None:
    project.mkdir(parents=True, exist_ok=True)
    (project / "main.py").write_text(FUNCTION)
    low, high = replicas
    (project / "function.yaml").write_text(
        MANIFEST.format(
            receipts=ledger.receipts, failures=failures, concurrency=concurrency, low=low, high=high, cooldown=cooldown
        )
    )


class Producer:
    """Publishes numbered events over MQTT at QoS 1 and writes down what was acknowledged."""

    def __init__(self, address: str, ledger: Ledger, name: str = "p") -> None:
        self._ledger, self._name = ledger, name
        self._waiting: dict[int, str] = {}
        self._lock = threading.Lock()
        self._early: set[int] = set()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"ledger-{name}", clean_session=False)
        self._client.on_publish = self._on_publish
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(0.05, 0.5)
        host, _, port = address.rpartition(":")
        self._client.connect(host, int(port))
        self._client.loop_start()

    def _on_publish(self, _client: Any, _data: Any, mid: int, *_: Any) -> None:
        with self._lock:
            event_id = self._waiting.pop(mid, None)
            if event_id is None:
                self._early.add(mid)
                return
        self._ledger.ack(event_id)

    def send(self, number: int, key: str, *, work: float = 0.0) -> None:
        receipt = Receipt(f"{self._name}-{number}", key, number)
        self._ledger.intend(receipt)
        payload = f'{{"id": "{receipt.id}", "key": "{key}", "n": {number}, "work": {work}}}'
        info = self._client.publish(f"ledger/{key}", payload, qos=1)
        with self._lock:
            early = info.mid in self._early
            self._early.discard(info.mid)
            if not early:
                self._waiting[info.mid] = receipt.id
        if early:
            self._ledger.ack(receipt.id)

    def unacknowledged(self) -> int:
        with self._lock:
            return len(self._waiting)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
