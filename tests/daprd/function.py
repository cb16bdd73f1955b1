"""A function of ours as a process, and what its handler saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from api.platform import LOOPBACK, spare
from tests.daprd.sidecar import Daprd
from tests.platform import until
from tests.servers import Server, listens

SOURCE = '''
"""Writes down what it is handed; fails what says so, once."""
import base64
import json
import os

import functions_framework as ff

FAILED = set()


def _told(event):
    data = event.data
    if isinstance(data, bytes):
        data = {"bytes": base64.b64encode(data).decode()}
    return {"attributes": dict(event), "data": data}


@ff.cloud_event
def record(event):
    with open(os.environ["RECORD"], "a") as file:
        file.write(json.dumps(_told(event)) + "\\n")
    if isinstance(event.data, dict) and event.data.get("fail") and event["id"] not in FAILED:
        FAILED.add(event["id"])
        raise RuntimeError("the first attempt fails")
    if event.data == "reject":
        raise ff.Reject("not this one")
    if isinstance(event.data, dict) and event.data.get("return"):
        return {"returned": event.data["return"]}


@ff.batch(max_size=100)
def gather(events):
    with open(os.environ["RECORD"], "a") as file:
        file.write(json.dumps([_told(event) for event in events]) + "\\n")
    return [{"returned": event.data["n"]} for event in events]


def bound(context):
    asked = context.get_binding_request()
    with open(os.environ["RECORD"], "a") as file:
        file.write(json.dumps(asked and {name.lower(): value for name, value in asked.metadata.items()}) + "\\n")
'''


def write(folder: Path) -> Path:
    """The function's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "main.py"
    path.write_text(SOURCE)
    return path


class Function(Server):
    """One process of the framework that listens where a daprd finds it."""

    name = "function"

    def __init__(
        self,
        directory: Path,
        *,
        target: str = "record",
        protocol: str = "http",
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(directory)
        self.port, self.record = spare(), directory / "record"
        words = ["-m", "functions_framework.command", "--source", str(write(directory)), "--target", target]
        self._words = [sys.executable, "-P", *words, "--host", LOOPBACK]
        self._environ = {"APP_PORT": str(self.port), "APP_PROTOCOL": protocol, "RECORD": str(self.record)}
        if context is not None:
            self._environ["FUNC_CONTEXT"] = json.dumps(context)

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.start_with({})

    def start_with(self, environ: Mapping[str, str]) -> None:
        """Start it, told of a daprd."""
        inherited = {name: value for name, value in os.environ.items() if name != "PORT"}
        with (self.directory / "function.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words, env={**inherited, **self._environ, **environ}, stdout=log, stderr=log
            )
        self._wait_ready(lambda: listens(self.port), 30)

    @property
    def calls(self) -> list[Any]:
        """What the handler was called with, one item for each call."""
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def wait(self, count: int) -> list[Any]:
        """The calls, once there are *count*."""
        until(lambda: len(self.calls) >= count, what=f"{count} calls in {self.record}")
        return self.calls


def beside(stack: ExitStack, function: Function, daprd: Daprd) -> None:
    """Start both; a daprd waits for its app, and the app may publish from the start."""
    stack.callback(function.stop)
    function.start_with(daprd.environ)
    stack.callback(daprd.stop)
    daprd.start()
