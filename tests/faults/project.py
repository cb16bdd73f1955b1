"""The project that the fault tests run: events of any source into functions that write a receipt for each."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.faults.journal import RECEIPT, Ledger

SINGLE = """
import ctypes, random, signal, sys, time
import functions_framework as ff

FAILURES = float(os.environ.get("FAILURES", "0"))
STARTS = os.open(os.environ["RECEIPTS"] + ".starts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def crash(how):
    if how == "exception":
        raise RuntimeError("a failure that the test asked for")
    if how == "exit":
        os._exit(3)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "memory":
        raise MemoryError(len(bytearray(1 << 40)))
    if how == "hang":
        time.sleep(3600)

def handle(sent, attempt):
    os.write(STARTS, f"{sent['id']} {attempt} {os.getpid()}\\n".encode())
    time.sleep(sent.get("work", 0) / 2)
    if attempt <= sent.get("fails", 0):
        crash(sent.get("how", "exception"))
    if random.random() < FAILURES:
        crash("exception")
    hand_in(receipt(sent, attempt))
    time.sleep(sent.get("work", 0) / 2)

@ff.cloud_event
def ledger(event, context):
    handle(event.data, context.attempt)

@ff.http
def over_http(request):
    handle(request.get_json(), 1)
    return "done"
"""
"""Does half of its work before the receipt and half after it, and fails as the event says."""

BATCH = """
import functions_framework as ff

@ff.batch(max_size=100)
def ledger(events):
    hand_in(*(receipt(event.data, 1) for event in events))
"""
"""One write for a batch: for the long runs."""

EMBEDDED = """
mqtt:
    readings: {topic: ledger/#}
"""
"""A source at the platform's own MQTT listener."""

MANIFEST = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: plant}}
spec:
  eventBus: {bus}
  {source}
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
    params: {{RECEIPTS: "{receipts}", FAILURES: "{failures}", EDITION: "{edition}"}}
    delivery: {{retry: {retry}, timeout: {timeout}, backoff: {{initial: {backoff}, cap: 2s}}}}
    scaleOptions: {{minReplicas: {low}, maxReplicas: {high}, keda: {{scaledObject: {{cooldownPeriod: {cooldown}}}}}}}
"""


def write(
    project: Path,
    ledger: Ledger,
    *,
    bus: str = "default",
    source: str = EMBEDDED,
    extra: str = "",
    code: str = SINGLE,
    failures: float = 0.0,
    concurrency: int = 4,
    replicas: tuple[int, int] = (0, 4),
    cooldown: int = 300,
    retry: int = 50,
    timeout: str = "60s",
    backoff: str = "50ms",
) -> None:
    """Write handler and manifest; *source* is the EventSource's part that names its kind, *extra* more documents."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "main.py").write_text(RECEIPT + code)
    low, high = replicas
    manifest = MANIFEST.format(
        bus=bus,
        source=source.strip(),
        receipts=ledger.receipts,
        failures=failures,
        edition=hashlib.sha1(code.encode()).hexdigest()[:8],
        concurrency=concurrency,
        low=low,
        high=high,
        cooldown=cooldown,
        retry=retry,
        timeout=timeout,
        backoff=backoff,
    )
    (project / "function.yaml").write_text("---\n".join([*([extra] if extra else []), manifest]))
