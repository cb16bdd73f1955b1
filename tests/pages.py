"""Run a documentation page as it stands: write its named files, run its commands, check what it says they print.

In an ``sh`` block a line ``# -> text`` says that the output of the command before it contains *text*. A page that needs
brokers names them, ``<!-- needs: kafka mosquitto -->``; they run on free ports, which take the place of the usual ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.kafka import start_kafka
from tests.markdown import blocks
from tests.mosquitto import start_mosquitto
from tests.platform import Platform
from tests.redis import start_redis

EVOKE = Path(sys.executable).with_name("evoke")
TIMEOUT = 90.0
_NEEDS = re.compile(r"^<!-- needs: ([\w ]+) -->$", re.MULTILINE)

Addresses = Mapping[str, str]
"""What a page writes for a broker -> where it is."""


@contextmanager
def _kafka(directory: Path) -> Iterator[Addresses]:
    broker = start_kafka(directory)
    try:
        yield {"localhost:9092": broker.bootstrap}
    finally:
        broker.stop()


@contextmanager
def _mosquitto(directory: Path) -> Iterator[Addresses]:
    if shutil.which("mosquitto_pub") is None and not os.environ.get("CI"):
        pytest.skip("MQTT pages need the clients: apt-get install mosquitto-clients")
    broker = start_mosquitto(directory)
    try:
        port = str(broker.port)
        yield {"localhost:1883": f"127.0.0.1:{port}", "-h localhost": "-h 127.0.0.1", "-p 1883": f"-p {port}"}
    finally:
        broker.stop()


@contextmanager
def _redis(directory: Path) -> Iterator[Addresses]:
    broker = start_redis(directory)
    try:
        yield {"localhost:6379": f"127.0.0.1:{broker.port}", "-p 6379": f"-p {broker.port}"}
    finally:
        broker.stop()


@contextmanager
def _node(_directory: Path) -> Iterator[Addresses]:
    if shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("pages with an app in Node need it: apt-get install nodejs")
    yield {}


BROKERS: Mapping[str, Callable[[Path], AbstractContextManager[Addresses]]] = {
    "kafka": _kafka,
    "mosquitto": _mosquitto,
    "node": _node,
    "redis": _redis,
}


@contextmanager
def brokers(page: Path, directory: Path) -> Iterator[Addresses]:
    """Run the brokers that *page* needs, each with its data in a folder below *directory*."""
    needs = _NEEDS.search(page.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    with ExitStack() as stack:
        for name in needs[1].split() if needs else ():
            found |= stack.enter_context(BROKERS[name](directory / name))
        yield found


def replay(page: Path, project: Path) -> None:
    """Run *page* in the folder *project*; raises AssertionError with what a command printed."""
    project.mkdir(exist_ok=True)
    with brokers(page, project.parent) as addresses:
        _replay(page, project, addresses)


def _replay(page: Path, project: Path, addresses: Addresses) -> None:
    script: list[str] = []
    for block in blocks(page):
        if block.file:
            (project / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh" and "evoke" in block.text:
            script += block.text.splitlines()
    for file in project.rglob("*.yaml"):
        file.write_text(_moved(file.read_text(encoding="utf-8"), addresses), encoding="utf-8")
    try:
        _run([_moved(line, addresses) for line in script], project)
    finally:
        Platform(project).down()


def _run(script: list[str], project: Path) -> None:
    said = command = ""
    for line in script:
        if line.startswith("# -> "):
            assert line[5:] in said, f"{command}\n{said}"
            continue
        command = line
        done = subprocess.run(
            line.replace("evoke ", f"{EVOKE} ", 1),
            shell=True,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command} -> {done.returncode}\n{said}"


def _moved(text: str, addresses: Addresses) -> str:
    for written, real in addresses.items():
        text = text.replace(written, real)
    return text
