"""Rows of bad input: text, code, path and line that a person must see."""

from __future__ import annotations

FUNCTION = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: hello
spec:
  serving:
    triggers:
      http: {}
"""
SOURCE = """\
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata:
  name: plant
spec:
  mqtt:
    readings:
      topic: plant/#
"""
TRIGGER = """\
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata:
  name: hot
spec:
  inputs:
    readings: {eventSource: plant, event: readings}
  subscribers:
  - sink: {ref: {kind: Function, name: hello}}
"""


def serving(extra: str) -> str:
    """FUNCTION with lines under spec.serving, from line 9 on."""
    return FUNCTION + "".join(f"    {line}\n" for line in extra.splitlines())


def bomb() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines)


YAML = {
    "alias bomb": (bomb(), "E101", 5),
    "cyclic alias": ("&x [*x]", "E102", 1),
    "duplicate key": (FUNCTION + "spec: {}\n", "E103", 9),
    "tag": ("!!python/object/apply:os.system [ls]", "E104", 1),
    "own tag": (FUNCTION.replace("hello", "!secret hello"), "E104", 4),
    "tab": ("a:\n\tb: 1\n", "E105", 2),
    "tab in block": ("a:\n  b:\n  \tc: 1\n", "E105", 3),
    "not UTF-8": (b"a: 1\nb: \xff\n", "E105", 2),
    "UTF-16": ("a: 1".encode("utf-16"), "E105", 1),
    "control character": ("a: \x07", "E105", 0),
    "empty": ("", "E106", 1),
    "only a comment": ("# nothing\n", "E106", 1),
    "only dashes": ("---\n", "E106", 1),
    "second document empty": (FUNCTION + "---\n", "E106", 9),
    "a scalar": ("hello\n", "E106", 1),
    "too large": ("a: " + "x" * (1 << 20), "E107", 0),
    "too deep": ("[" * 5000, "E107", 1),
    "too many values": ("- a\n" * 60_000, "E107", 50_000),
    "not YAML": ("a: [1\nb: 2\n", "E100", 2),
    "unknown alias": ("a: *b", "E100", 1),
    "key is no text": (FUNCTION + "    params: {1: a}\n", "E111", 9),
    "question mark key": ("? [a]\n: b\n", "E111", 1),
}


FIELDS = {
    "did you mean": (serving("trigers: {}"), "E110", "spec.serving.trigers", 9),
    "unknown in a list": (
        serving("outputs:\n- dapr: {name: a, topik: b}"),
        "E110",
        "spec.serving.outputs[0].dapr.topik",
        10,
    ),
    "unknown at the top": (FUNCTION + "extra: 1\n", "E110", "extra", 9),
    "unknown in metadata": (FUNCTION.replace("  name", "  nam: x\n  name"), "E110", "metadata.nam", 4),
    "text for a number": (serving('concurrency: "3"'), "E111", "spec.serving.concurrency", 9),
    "yes for a number": (serving("concurrency: yes"), "E111", "spec.serving.concurrency", 9),
    "1e3 for a number": (serving("concurrency: 1e3"), "E111", "spec.serving.concurrency", 9),
    "octal": (serving("concurrency: 012"), "E111", "spec.serving.concurrency", 9),
    "sexagesimal": (serving("params: {A: 1:30}"), "E111", "spec.serving.params.A", 9),
    "underscores": (serving("params: {A: 1_000}"), "E111", "spec.serving.params.A", 9),
    "hex": (serving("params: {A: 0x1f}"), "E111", "spec.serving.params.A", 9),
    "infinity": (serving("delivery: {backoff: {factor: .inf}}"), "E111", "spec.serving.delivery.backoff.factor", 9),
    "overflow": (serving("delivery: {backoff: {factor: 1e999}}"), "E111", "spec.serving.delivery.backoff.factor", 9),
    "number for text": (serving("params: {A: 1}"), "E111", "spec.serving.params.A", 9),
    "boolean for text": (serving("params: {A: true}"), "E111", "spec.serving.params.A", 9),
    "nothing for an object": (FUNCTION.replace("http: {}", "http:"), "E111", "spec.serving.triggers.http", 8),
    "unknown choice": (serving("workloadType: Deploymnt"), "E111", "spec.serving.workloadType", 9),
    "object for a list": (serving("outputs: {dapr: {name: a}}"), "E111", "spec.serving.outputs", 9),
    "underscore in a name": (FUNCTION.replace("hello", "My_Func"), "E112", "metadata.name", 4),
    "long name": (FUNCTION.replace("hello", "a" * 64), "E112", "metadata.name", 4),
    "dots in a name": (FUNCTION.replace("hello", "a..b"), "E112", "metadata.name", 4),
    "dash first": (FUNCTION.replace("hello", "-a"), "E112", "metadata.name", 4),
    "name is a number": (FUNCTION.replace("hello", "123"), "E112", "metadata.name", 4),
    "name is yes": (FUNCTION.replace("hello", "yes"), "E112", "metadata.name", 4),
    "label": (FUNCTION.replace("  name", "  labels: {a: 'b c'}\n  name"), "E112", "metadata.labels.a", 4),
    "min over max": (
        serving("scaleOptions: {minReplicas: 5, maxReplicas: 2}"),
        "E113",
        "spec.serving.scaleOptions.minReplicas",
        9,
    ),
    "min over the default": (
        serving("scaleOptions: {minReplicas: 11}"),
        "E113",
        "spec.serving.scaleOptions.minReplicas",
        9,
    ),
    "max 0": (serving("scaleOptions: {maxReplicas: 0}"), "E113", "spec.serving.scaleOptions.maxReplicas", 9),
    "negative": (serving("scaleOptions: {minReplicas: -1}"), "E113", "spec.serving.scaleOptions.minReplicas", 9),
    "a billion": (
        serving("scaleOptions: {maxReplicas: 1000000000}"),
        "E113",
        "spec.serving.scaleOptions.maxReplicas",
        9,
    ),
    "huge digits": (serving(f"concurrency: {'9' * 30}"), "E111", "spec.serving.concurrency", 9),
    "port": (FUNCTION.replace("http: {}", "http: {port: 70000}"), "E113", "spec.serving.triggers.http.port", 8),
    "weights": (serving("traffic: [{weight: 50}]"), "E113", "spec.serving.traffic", 9),
    "amount": (serving("resources: {limits: {cpu: lots}}"), "E113", "spec.serving.resources.limits.cpu", 9),
    "duration 5": (serving("timeout: 5"), "E114", "spec.serving.timeout", 9),
    "duration in words": (serving("timeout: 5 minutes"), "E114", "spec.serving.timeout", 9),
    "negative duration": (serving("timeout: -1s"), "E114", "spec.serving.timeout", 9),
    "endless duration": (serving("timeout: 1e9h"), "E114", "spec.serving.timeout", 9),
    "long duration": (serving("timeout: 9999h"), "E114", "spec.serving.timeout", 9),
    "apiVersion": (FUNCTION.replace("v1beta2", "v1beta1"), "E115", "apiVersion", 1),
    "kind": (FUNCTION.replace("kind: Function", "kind: function"), "E115", "kind", 2),
    "no kind": (FUNCTION.replace("kind: Function\n", ""), "E115", "", 1),
    "sync and async": (
        FUNCTION.replace("http: {}", "http: {}\n      dapr: [{name: default, topic: a}]"),
        "E116",
        "spec.serving.triggers",
        7,
    ),
    "neither": ("\n".join(FUNCTION.splitlines()[:5]) + "\n  serving: {}\n", "E116", "spec.serving.triggers", 6),
    "same trigger": (
        FUNCTION.replace("http: {}", "dapr: [{name: a, topic: b}, {name: a, topic: b}]"),
        "E117",
        "spec.serving.triggers.dapr[1]",
        8,
    ),
    "same output": (
        serving("outputs:\n- dapr: {name: a, topic: b}\n- dapr: {name: a, topic: c}"),
        "E117",
        "spec.serving.outputs[1]",
        11,
    ),
    "two default routes": (
        FUNCTION.replace("http: {}", "http: {route: {rules: [{}, {}]}}"),
        "E117",
        "spec.serving.triggers.http.route.rules[1]",
        8,
    ),
    "same resource": (FUNCTION + "---\n" + FUNCTION, "E117", "metadata.name", 13),
    "same event": (SOURCE + "  cron: {readings: {schedule: '@hourly'}}\n", "E117", "spec.mqtt.readings", 7),
    "webhook at the gateway's own path": (
        SOURCE.replace("mqtt:", "http:").replace("topic: plant/#", "path: /function/team/hello"),
        "E113",
        "spec.http.readings.path",
        8,
    ),
    "webhook at no path": (
        SOURCE.replace("mqtt:", "http:").replace("topic: plant/#", "path: /a/../b"),
        "E113",
        "spec.http.readings.path",
        8,
    ),
    "two brokers": (
        "apiVersion: events.openfunction.io/v1alpha1\nkind: EventBus\nmetadata: {name: b}\nspec: {nats: {}, mqtt: {url: tcp://x}}\n",
        "E118",
        "spec",
        4,
    ),
    "two scalers": (
        serving("scaleOptions: {keda: {scaledObject: {}, scaledJob: {}}}"),
        "E118",
        "spec.serving.scaleOptions.keda",
        9,
    ),
    "password twice": (
        SOURCE + "      password: a\n      passwordFrom: {secretRef: {name: s, key: k}}\n",
        "E118",
        "spec.mqtt.readings",
        7,
    ),
    "no dialect": (TRIGGER + "    filter: {}\n", "E118", "spec.subscribers[0].filter", 10),
    "sink of nothing": (
        TRIGGER.replace("{ref: {kind: Function, name: hello}}", "{}"),
        "E118",
        "spec.subscribers[0].sink",
        9,
    ),
    "no topic": (SOURCE.replace("topic: plant/#", "qos: 1"), "E119", "spec.mqtt.readings", 7),
    "no spec": ("\n".join(FUNCTION.splitlines()[:4]), "E119", "", 1),
    "no name": (FUNCTION.replace("name: hello", "labels: {}"), "E119", "metadata", 3),
    "no events": (
        SOURCE.replace("  mqtt:\n    readings:\n      topic: plant/#\n", "  eventBus: default\n"),
        "E119",
        "spec",
        5,
    ),
    "input of another namespace": (
        TRIGGER.replace("event: readings", "event: readings, namespace: other"),
        "E120",
        "spec.inputs.readings.namespace",
        7,
    ),
    "sink of another namespace": (
        TRIGGER.replace("name: hello", "name: hello, namespace: other"),
        "E120",
        "spec.subscribers[0].sink.ref.namespace",
        9,
    ),
    "secret of another namespace": (
        serving("paramsFrom: {A: {secretRef: {name: s, key: k, namespace: other}}}"),
        "E120",
        "spec.serving.paramsFrom.A.secretRef.namespace",
        9,
    ),
    "schedule of four": (
        SOURCE.replace("mqtt:", "cron:").replace("topic: plant/#", 'schedule: "* * * *"'),
        "E123",
        "spec.cron.readings.schedule",
        8,
    ),
    "minute 61": (
        SOURCE.replace("mqtt:", "cron:").replace("topic: plant/#", 'schedule: "61 * * * *"'),
        "E123",
        "spec.cron.readings.schedule",
        8,
    ),
    "time zone": (
        SOURCE.replace("mqtt:", "cron:").replace("topic: plant/#", 'schedule: "TZ=Mars * * * * *"'),
        "E123",
        "spec.cron.readings.schedule",
        8,
    ),
    "30 February": (
        SOURCE.replace("mqtt:", "cron:").replace("topic: plant/#", 'schedule: "0 0 30 2 *"'),
        "E123",
        "spec.cron.readings.schedule",
        8,
    ),
    "every nothing": (
        SOURCE.replace("mqtt:", "cron:").replace("topic: plant/#", 'schedule: "@every 1ms"'),
        "E123",
        "spec.cron.readings.schedule",
        8,
    ),
    "long handler": (serving(f"handler: {'a' * 1500}"), "E126", "spec.serving.handler", 9),
    "long condition": (TRIGGER + f"    condition: {'a' * 5000}\n", "E126", "spec.subscribers[0].condition", 10),
    "annotations of 300 KB": (
        FUNCTION.replace("  name", f"  annotations: {{a: {'x' * 300_000}}}\n  name"),
        "E113",
        "metadata.annotations",
        4,
    ),
}


COSTLY = {
    "alias bomb": bomb(),
    "flow nesting": "[" * 1_000_000,
    "many values": "- a\n" * 250_000,
    "many unknown fields": FUNCTION + "".join(f"  field{n}: x\n" for n in range(40_000)),
    "many faults in a list": serving("outputs:\n" + "- {dapr: {nam: x}}\n" * 12_000),
    "one long plain scalar": "a: " + "x " * 500_000,
    "one long digit string": "a: " + "1" * 1_000_000,
    "many anchors": "".join(f"- &a{n} x\n" for n in range(60_000)),
    "question marks": "? " * 400_000,
    "condition of parentheses": TRIGGER + f"    condition: '{'(' * 1000}'\n",
}
