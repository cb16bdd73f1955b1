"""The small project that the commands are tried on: an HTTP function that reads a secret, and one for events."""

from __future__ import annotations

from pathlib import Path

CANARY = "canary-8d1f0c62"
"""Value of the secret `keys` that `hello` reads."""

CODE = """
import os

import functions_framework as ff


@ff.http
def hello(request, context):
    if request.path == "/boom":
        raise RuntimeError("boom")
    name = request.get_data(as_text=True) or "nobody"
    context.logger.info("hello %s", name)
    return f"{os.environ['GREETING']} {name} at {request.path}, token {os.environ.get('TOKEN', '')}"


@ff.cloud_event
def alarm(event, context):
    if event.data.get("bad"):
        raise ff.Reject("a bad alarm")
    context.logger.info("alarm %s", event.data["n"])
    return {"heard": event.data["n"]}
"""
MANIFESTS = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: hello
  labels: {team: red}
spec:
  serving:
    handler: main:hello
    triggers: {http: {}}
    params: {GREETING: hello}
    paramsFrom:
      TOKEN: {secretRef: {name: keys, key: token}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: alarm
  labels: {team: blue}
spec:
  serving:
    handler: main:alarm
    triggers:
      dapr: [{name: default, type: pubsub, topic: alarms}]
    outputs:
    - dapr: {name: default, type: pubsub, topic: heard}
---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: plant}
spec:
  mqtt:
    readings: {topic: plant/#}
---
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: hot}
spec:
  inputs:
    readings: {eventSource: plant, event: readings}
  subscribers:
  - sink: {ref: {kind: Function, name: alarm}}
"""


def write(project: Path) -> None:
    (project / "main.py").write_text(CODE)
    (project / "function.yaml").write_text(MANIFESTS)
