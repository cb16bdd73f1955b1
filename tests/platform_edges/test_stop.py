"""A platform that was stopped, in whatever way, goes on as it was: ready at once, same revision, the first event."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.platform import Platform, processes, started, until

pytestmark = pytest.mark.platform

CODE = """
import os
import functions_framework as ff

@ff.http
def hello(request):
    return "hi"

@ff.cloud_event
def on_reading(event):
    with open(os.environ["RECEIPTS"], "a") as file:
        file.write(event.data["id"] + "\\n")
"""
MANIFEST = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: plant}}
spec:
  mqtt: {{readings: {{topic: plant/#}}}}
  sink: {{ref: {{apiVersion: core.openfunction.io/v1beta2, kind: Function, name: on-reading}}}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: on-reading}}
spec:
  serving:
    handler: main:on_reading
    triggers: {{}}
    params: {{RECEIPTS: "{receipts}"}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: hello}}
spec:
  serving:
    handler: main:hello
    triggers: {{http: {{}}}}
    scaleOptions: {{minReplicas: 3}}
"""
FUNCTIONS = ("hello", "on-reading")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.py").write_text(CODE)
    (folder / "function.yaml").write_text(MANIFEST.format(receipts=tmp_path / "receipts"))
    (tmp_path / "receipts").touch()
    return folder


def down(platform: Platform) -> None:
    platform.evoke("down")


def terminate_everything(platform: Platform) -> None:
    """As a service manager does: SIGTERM to every process of the group at the same time."""
    family = set(platform.pids().values())
    found = list(processes())
    for _ in range(3):
        family |= {pid for pid, parent, _ in found if parent in family}
    for pid in family:
        with suppress(ProcessLookupError):  # its parent was asked first and was faster
            os.kill(pid, signal.SIGTERM)
    until(lambda: not any(alive(pid) for pid in family), what="everything ended")


def kill_the_supervisor(platform: Platform) -> None:
    family = platform.pids().values()
    platform.kill("supervisor")
    until(lambda: not any(alive(pid) for pid in family), what="everything ended")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("stop", [down, terminate_everything, kill_the_supervisor])
def test_a_stopped_platform_goes_on_as_it_was(project: Path, stop: Callable[[Platform], None]) -> None:
    with started(project) as platform:
        platform.wait_ready(*FUNCTIONS)
        until(lambda: len(platform.replicas("hello")) == 3, what="three replicas")
        publish(platform, "before")
        until(lambda: receipts(project) == ["before"], what="the first event handled")

        stop(platform)
        platform.up()

        statuses = {name: platform.status(name) for name in FUNCTIONS}
        publish(platform, "after")
        until(lambda: "after" in receipts(project), what="the first event after the start handled")
        url = f"http://{platform.platform()['http']}/function/default/hello"
        with urllib.request.urlopen(url, timeout=30) as reply:
            assert reply.read() == b"hi"

    for name, status in statuses.items():
        assert {one["name"]: one["problem"] for one in status["revisions"]} == {"00001": ""}
        assert next(one for one in status["conditions"] if one["type"] == "Ready")["status"] == "True", name


def test_a_zygote_that_dies_with_the_platform_is_not_waited_for(project: Path) -> None:
    """Its replicas end with it, whatever grace they have, and nobody is left to tell so."""
    manifest = project / "function.yaml"
    template = "\n    template: {terminationGracePeriodSeconds: 600}"
    manifest.write_text(manifest.read_text().replace("{minReplicas: 3}", "{minReplicas: 3}" + template))
    with started(project) as platform:
        platform.wait_ready("hello")
        until(lambda: len(platform.replicas("hello")) == 3, what="three replicas")
        for replica in platform.replicas("hello"):
            os.kill(replica["pid"], signal.SIGSTOP)
        pids = platform.pids()
        os.kill(pids["supervisor"], signal.SIGTERM)
        until(lambda: not alive(pids["plane"]), what="the replicas are next")
        os.kill(pids["zygote"], signal.SIGKILL)
        # long before the supervisor would have killed a controller that waits
        until(lambda: not any(map(alive, pids.values())), what="everything ended", deadline=30)


def test_scale_delivery_and_traffic_make_no_revision(project: Path) -> None:
    with started(project) as platform:
        platform.wait_ready(*FUNCTIONS)
        text = (project / "function.yaml").read_text()
        edited = text.replace("{minReplicas: 3}", "{minReplicas: 1, maxReplicas: 7}")
        edited = edited.replace("handler: main:on_reading", "handler: main:on_reading\n    delivery: {retry: 3}")
        assert edited.count("retry: 3") == 1
        (project / "function.yaml").write_text(edited)
        platform.evoke("apply", "-f", ".")
        until(lambda: platform.status("hello")["scaling"].get("max") == 7, what="the edit in force")
        platform.wait_ready(*FUNCTIONS)
        names = {name: [one["name"] for one in platform.status(name)["revisions"]] for name in FUNCTIONS}

    assert names == {name: ["00001"] for name in FUNCTIONS}


def publish(platform: Platform, name: str) -> None:
    platform.evoke("publish", "plant/a", "--source", "plant", "-d", json.dumps({"id": name}))


def receipts(project: Path) -> list[str]:
    return (project.parent / "receipts").read_text().split()
