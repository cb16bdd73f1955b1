"""Power loss, as far as a running kernel can prove it: which bytes were on the disk when an event was acknowledged.

strace shows nats-server's writes, fsyncs and answers in their order. An event is safe when its bytes were written to a
file of the stream, an fsync of that file began after that and ended before the PubAck was written to the socket. The
same check has to fail where nothing is synced, else it proves nothing.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from api.platform import Durability
from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.jetstream.bus import JetStreamBus
from eventbus.subjects import topic
from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker, Owner

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


_PIECES = re.compile(r'", iov_len=\d+}, {iov_base="')
_ACKNOWLEDGEMENT = re.compile(r'{\\"stream\\":\\"EV_[^}]*?\\"seq\\":(\d+)[,}]')


def _payload(text: str) -> str:
    """What a write to a socket wrote, as strace escapes it."""
    begin, end = text.find('"') + 1, text.rfind('"')
    return _PIECES.sub("", text[begin:end])


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
    said: dict[str, str] = {}
    """Socket -> what was written to it and not yet understood: an acknowledgement may come in pieces."""
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
            said[step.file] = said.get(step.file, "") + _payload(step.text)
            while acknowledgement := _ACKNOWLEDGEMENT.search(said[step.file]):
                said[step.file] = said[step.file][acknowledgement.end() :]
                last = int(acknowledgement[1])
                unsafe += [mark for mark in marks[answered:last] if mark not in safe]
                answered = max(answered, last)
    assert answered == len(marks), f"only {answered} of {len(marks)} acknowledgements were seen"
    return unsafe


def synced(trace: str) -> dict[str, bytes]:
    """File of messages -> what an fsync has put on the disk, as if it had lost everything else."""
    pending: dict[str, list[tuple[int, bytes]]] = {}
    syncing: dict[str, list[tuple[int, bytes]]] = {}
    disk: dict[str, bytearray] = {}
    for step in steps(trace):
        if "/msgs/" not in step.file or "/EV_" not in step.file or "/batches/" in step.file:
            continue
        if step.call == "pwrite64" and step.ended:
            text, size, offset = re.search(r'^, ("(?:[^"\\]|\\.)*"), (\d+), (\d+)', step.text, re.DOTALL).groups()  # type: ignore[union-attr]  # every pwrite64 looks so
            data = ast.literal_eval(f"b{text}")
            assert len(data) == int(size)
            pending.setdefault(step.file, []).append((int(offset), data))
        elif step.call in {"fsync", "fdatasync"}:
            if not step.ended:
                syncing[step.file] = pending.pop(step.file, [])
            for offset, data in syncing.pop(step.file, []) if step.ended else []:
                content = disk.setdefault(step.file, bytearray())
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
    return {file: bytes(content) for file, content in disk.items()}


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


class Run(NamedTuple):
    """What a server did while EVENTS were published, all of which it acknowledged; then it was killed."""

    server: Nats
    broker: Broker
    trace: str
    marks: list[str]


def run(tmp_path: Path, durability: Durability, *, together: bool, grouped: bool = True, size: int = 100) -> Run:
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
    finally:
        server.kill()
    return Run(server, broker, (tmp_path / "trace").read_text(errors="replace"), marks)


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "overlapping"])
@pytest.mark.parametrize("grouped", [False, True], ids=["single", "group-commit"])
def test_every_acknowledged_event_is_on_disk(tmp_path: Path, together: bool, grouped: bool) -> None:
    made = run(tmp_path, "sync", together=together, grouped=grouped)

    assert acknowledged_unsafe(made.trace, made.marks) == []
    assert ("Nats-Batch-Commit" in made.trace) == (together and grouped)


def test_a_batch_over_several_files_is_on_disk(tmp_path: Path) -> None:
    """A stream's messages stand in blocks, and a batch of 40 events of 400 KB fills some."""
    made = run(tmp_path, "sync", together=True, size=400_000)

    assert len({step.file for step in steps(made.trace) if "/EV_" in step.file and "/msgs/" in step.file}) > 1
    assert acknowledged_unsafe(made.trace, made.marks) == []


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "overlapping"])
def test_without_sync_the_same_check_fails(tmp_path: Path, together: bool) -> None:
    made = run(tmp_path, "os", together=together)

    assert acknowledged_unsafe(made.trace, made.marks) == made.marks


@pytest.mark.parametrize(("durability", "kept"), [("sync", EVENTS), ("os", 0)])
@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "overlapping"])
def test_after_a_power_cut_the_broker_has_what_was_synced(
    tmp_path: Path, durability: Durability, kept: int, together: bool
) -> None:
    """Start it anew on a disk that holds of every event what an fsync put there, and nothing else."""
    made = run(tmp_path, durability, together=together)
    disk = synced(made.trace)
    for file in (tmp_path / "broker").rglob("EV_*/msgs/*"):
        file.write_bytes(disk.get(str(file), b"")) if file.suffix == ".blk" else file.unlink()
    made.server.start()
    found: list[str] = []

    async def test(bus: EventBus) -> None:
        assert isinstance(bus, JetStreamBus)
        stream = topic(made.broker.key, "topic").stream
        assert (await bus._js.stream_info(stream)).state.messages == kept
        if kept:
            owner = await Owner.open(bus, made.broker.subscription())
            found.extend(cloudevents.heading(one.payload).id for one in await owner.take(kept))

    try:
        made.broker.run(test)
    finally:
        made.server.stop()
    assert found == made.marks[:kept]
