"""What test_triggers.py declares; ``$WEB``, ``$CLOSED`` and ``$RECEIPTS`` are known only when it runs."""

from __future__ import annotations

CODE = """
import json
import os
import functions_framework as ff

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def keep(event):
    line = json.dumps({"by": os.environ["NAME"], "event": event.to_dict()})
    os.write(RECEIPTS, line.encode() + b"\\n")
    return event.data
"""
FUNCTION = """---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: $FUNCTION, annotations: {evoke.dev/allow-loop: "$LOOPS"}}
spec:
  serving:
    handler: main:keep
    triggers: {dapr: [{name: default, type: pubsub, topic: $TOPIC}]}
    outputs: $OUTPUTS
    params: {RECEIPTS: "$RECEIPTS", NAME: $FUNCTION}
"""
SOURCE = """---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: $NAME}
spec:
  http: {$EVENTS}
"""
TRIGGER = """---
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: $NAME}
spec:
  inputs: {$INPUTS}
  subscribers:
"""
MANY = [f"part{number}" for number in range(12)]
"""Inputs of one join: no halving of all subscriptions leaves them to one proxy."""


def function(name: str, topic: str = "", *, loops: bool = False) -> str:
    text = FUNCTION.replace("$FUNCTION", name).replace("$TOPIC", topic or f"{name}-only")
    outputs = f"[{{dapr: {{name: default, type: pubsub, topic: {topic}}}}}]" if loops else "[]"
    return text.replace("$LOOPS", str(loops).lower()).replace("$OUTPUTS", outputs)


def source(name: str, *events: str, sink: str = "") -> str:
    text = SOURCE.replace("$NAME", name).replace("$EVENTS", ", ".join(f"{event}: {{}}" for event in events))
    return text + (f"  sink: {sink}\n" if sink else "")


def trigger(name: str, inputs: str, *subscribers: str) -> str:
    """*inputs*: names of events of the EventSource shop."""
    given = ", ".join(f"{event}: {{eventSource: shop, event: {event}}}" for event in inputs.split())
    text = TRIGGER.replace("$NAME", name).replace("$INPUTS", given)
    return text + "".join(f"    - {{{one}}}\n" for one in subscribers)


def ref(name: str) -> str:
    return f"{{ref: {{kind: Function, name: {name}}}}}"


FEW = "delivery: {retry: 2, backoff: {initial: 10ms}}"
LOST = f"deadLetterSink: {ref('undertaker')}, deadLetterTopic: buried"
KEYED = "correlation: {window: 1m, key: data.k}"
FLEETING = source("fleeting", "kept", "gone", sink=ref("one"))
MANIFEST = "".join(
    [
        function("one"),
        function("two"),
        function("undertaker"),
        function("fan", "fanned"),
        function("graveyard", "buried"),
        function("round", "circle", loops=True),
        source("shop", "order", "refund", "storm", "left", "right", "tick", "tock", *MANY),
        source("both", "news", sink='{uri: "$WEB/both"}'),
        trigger("same", "order", f"condition: order, sink: {ref('one')}", f"condition: order, sink: {ref('two')}"),
        trigger(
            "places",
            "order refund",
            'condition: order, sink: {uri: "$WEB/orders?token=t"}, topic: fanned',
            'condition: refund, sink: {uri: "$WEB/refunds"}, topic: fanned',
        ),
        trigger(
            "failing",
            "storm",
            f'condition: storm, sink: {{uri: "$WEB/broken?token=t"}}, {LOST}, {FEW}',
            f'condition: storm, sink: {{uri: "http://$CLOSED/"}}, {LOST}, {FEW}',
            f"condition: storm, topic: fanned, deadLetterSink: {ref('undertaker')}",
            f"condition: storm, sink: {ref('two')}",
        ),
        trigger(
            "pairs",
            "left right",
            f"condition: left && right, sink: {ref('one')}, {KEYED}",
            f"condition: left && !right, sink: {ref('two')}, {KEYED}",
        ),
        trigger("plain", "tick tock", f"condition: tick && tock, sink: {ref('one')}"),
        trigger("many", " ".join(MANY), f"condition: {' && '.join(MANY)}, sink: {ref('one')}, {KEYED}"),
        trigger("news", "", f"sink: {ref('one')}").replace("{}", "{news: {eventSource: both, event: news}}"),
        FLEETING,
    ]
)
