"""Power loss, as far as a running kernel can prove it: which bytes were on the disk when an event was acknowledged.

strace shows nats-server's writes, fsyncs and answers in their order. An event is safe when its bytes were written to a
file of the stream, an fsync of that file began after that and ended before the PubAck was written to the socket. The
same check has to fail where nothing is synced, else it proves nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from api.platform import Durability
from eventbus import cloudevents
from eventbus.bus import EventBus
from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker

CALLS = "write,writev,pwrite64,pwritev,fsync,fdatasync"
EVENTS = 40
TEXT = 1 << 20
"""Characters that strace shows of each write: more than any event here."""

pytestmark = pytest.mark.broker


class Step(msgspec.Struct, frozen=True):
    """One line of the trace: a system call that began or ended."""

    call: str
    file: str
    text: str
    ended: bool


_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\(\d+<(.*?)>(.*)$", re.DOTALL)
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")


def steps(trace: str) -> Iterator[Step]:
    """Beginnings and ends of calls, in the order in which they happened; a call in one line is both."""
    open_: dict[str, Step] = {}
    for line in trace.splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        thread, rest = found.groups()
        if call := _CALL.match(rest):
            name, file, text = call.groups()
            begun = Step(name, file, text, ended=False)
            yield begun
            if rest.endswith("<unfinished ...>"):
                open_[thread] = begun
            else:
                yield msgspec.structs.replace(begun, ended=True)
        elif _RESUMED.match(rest) and thread in open_:
            yield msgspec.structs.replace(open_.pop(thread), ended=True)


def acknowledged_unsafe(trace: str, marks: list[str]) -> list[str]:
    """Marks of events whose PubAck left before their bytes were synced; raises when an event was never acknowledged.

    PubAcks carry the last sequence that they stand for; the marks are in the order of the sequences.
    """
    written: dict[str, set[str]] = {}
    """File -> marks in it that no fsync has covered."""
    syncing: dict[str, set[str]] = {}
    safe: set[str] = set()
    unsafe: list[str] = []
    answered = 0
    for step in steps(trace):
        stored = "/msgs/" in step.file and "/batches/" not in step.file
        if step.call in {"fsync", "fdatasync"} and stored:
            if not step.ended:
                syncing[step.file] = written.pop(step.file, set())
            else:
                safe |= syncing.pop(step.file, set())
        elif stored and step.ended:
            written.setdefault(step.file, set()).update(re.findall(r"mark-\d+-end", step.text))
        elif step.file.startswith("socket:") and not step.ended:
            for last in re.findall(r'{\\"stream\\":\\"EV_[^}]*?seq\\":(\d+)', step.text):
                for mark in marks[answered : int(last)]:
                    answered += 1
                    if mark not in safe:
                        unsafe.append(mark)
    assert answered == len(marks), f"only {answered} of {len(marks)} acknowledgements were seen"
    return unsafe


@contextmanager
def traced(server: Nats, file: Path) -> Iterator[None]:
    """Record what the server writes and syncs, from here to the end."""
    strace = shutil.which("strace")
    if strace is None:
        assert not os.environ.get("CI"), "strace is missing: run scripts/ci-packages"
        pytest.skip("strace is missing: apt-get install strace")
    command = [strace, "-f", "-y", "-s", str(TEXT), "-e", f"trace={CALLS}", "-o", str(file), "-p", str(server.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if "attached" not in said:
        tracer.wait(10)
        assert not os.environ.get("CI"), said
        pytest.skip(f"strace may not attach: {said.strip()}")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)


def trace(
    tmp_path: Path, durability: Durability, *, together: bool, grouped: bool = True, size: int = 100
) -> tuple[str, list[str]]:
    """What a server of *durability* did while EVENTS were published, and their marks in order."""
    server = start_nats(tmp_path / "broker", durability)
    marks = [f"mark-{number}-end" for number in range(EVENTS)]
    broker = Broker("nats", {**server.options, **({"durability": "sync"} if grouped else {})}, server)

    async def publish(bus: EventBus, mark: str) -> None:
        body = msgspec.json.encode(mark + "." * size)
        payload = cloudevents.encode(id=mark, source="/test", type="t", body=body)
        await bus.publish("topic", payload, dedupe=cloudevents.dedupe_id("/test", mark))

    async def test(bus: EventBus) -> None:
        await publish(bus, marks[0])
        if together:
            await asyncio.gather(*(publish(bus, mark) for mark in marks[1:]))
        else:
            for mark in marks[1:]:
                await publish(bus, mark)

    try:
        with traced(server, tmp_path / "trace"):
            broker.run(test)
        return (tmp_path / "trace").read_text(errors="replace"), marks
    finally:
        server.stop()


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "overlapping"])
@pytest.mark.parametrize("grouped", [False, True], ids=["single", "group-commit"])
def test_every_acknowledged_event_is_on_disk(tmp_path: Path, together: bool, grouped: bool) -> None:
    recorded, marks = trace(tmp_path, "sync", together=together, grouped=grouped)

    assert acknowledged_unsafe(recorded, marks) == []
    assert ("Nats-Batch-Commit" in recorded) == (together and grouped)


def test_a_batch_over_several_files_is_on_disk(tmp_path: Path) -> None:
    """A stream's messages stand in blocks, and a batch of 40 events of 400 KB fills some."""
    recorded, marks = trace(tmp_path, "sync", together=True, size=400_000)

    assert len({step.file for step in steps(recorded) if "/EV_" in step.file and "/msgs/" in step.file}) > 1
    assert acknowledged_unsafe(recorded, marks) == []


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "overlapping"])
def test_without_sync_the_same_check_fails(tmp_path: Path, together: bool) -> None:
    recorded, marks = trace(tmp_path, "os", together=together)

    assert acknowledged_unsafe(recorded, marks) == marks
