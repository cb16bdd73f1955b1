"""Events that go round through two functions, on the real platform: the circle ends, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.events import letters, publish
from tests.platform import started, until

pytestmark = pytest.mark.platform

FUNCTION = """
import os
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def {name}(event):
    os.write(CALLS, b"{name}\\n")
    return event.data
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: {name}
  annotations: {annotations}
spec:
  build: {{srcRepo: {{url: ./{name}}}}}
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: to-{name}}}]}}
    outputs: [{{dapr: {{name: default, type: pubsub, topic: to-{other}}}}}]
    params: {{CALLS: "{calls}"}}
"""
PAIRS = (("ping", "pong"), ("pong", "ping"))


def write(project: Path, calls: Path, annotations: str) -> None:
    documents = []
    for name, other in PAIRS:
        (project / name).mkdir(parents=True, exist_ok=True)
        (project / name / "main.py").write_text(FUNCTION.format(name=name))
        documents.append(MANIFEST.format(name=name, other=other, calls=calls, annotations=annotations))
    (project / "function.yaml").write_text("---".join(documents))


def test_a_circle_through_two_functions_ends_after_sixteen_hops(tmp_path: Path) -> None:
    project, calls = tmp_path / "project", tmp_path / "calls"
    write(project, calls, '{evoke.dev/allow-loop: "true"}')

    with started(project) as platform:
        platform.wait_ready("ping", "pong")
        publish(platform, "to-ping", [1])
        found = until(lambda: letters(platform, "ping") + letters(platform, "pong"), what="the end of the circle")
        write(project, calls, "{}")
        refused = platform.evoke("apply", "-f", "function.yaml", check=False)

    (letter,) = found
    assert (letter["reason"], letter["event"]["evokehops"]) == ("loop", 17)
    assert calls.read_text().split() == ["ping", "pong"] * 8 + ["ping"]
    assert refused.returncode != 0
    assert "E124" in refused.stdout + refused.stderr
