"""A real zygote: fork, report, serve, exit, kill, spawn; what a replica owns and what it does not."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from functions_framework import zygote_wire as wire
from tests.functions_framework.harness import write


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("replica", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


class Starter:
    """The other side of the protocol: connects, forks, listens."""

    def __init__(self, directory: Path, path: Path) -> None:
        self.directory = directory
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(20)
        self.stream.connect(str(path))
        self._lines = self.stream.makefile("rb")
        self.logs: dict[str, Path] = {}

    def send(self, request: wire.Request, *descriptors: int) -> None:
        socket.send_fds(self.stream, [msgspec.json.encode(request) + b"\n"], descriptors)

    def reply(self) -> wire.Reply:
        return msgspec.json.decode(self._lines.readline(), type=wire.Reply)

    def fork(self, name: str, source: Path, **more: object) -> tuple[wire.Reply, wire.ReplicaStatus | None]:
        """Fork one replica and read its status line."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.directory / f"{name}.sock"))
        listener.listen()
        reader, writer = os.pipe()
        self.logs[name] = self.directory / f"{name}.log"
        log = os.open(self.logs[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        request = wire.Fork(id=name, source=str(source), **more)  # type: ignore[arg-type]  # fields by the caller
        self.send(request, listener.fileno(), log, writer)
        for descriptor in (writer, log):
            os.close(descriptor)
        listener.close()
        reply = self.reply()
        with os.fdopen(reader, "rb") as pipe:
            line, rest = pipe.readline(), pipe.read()
            assert rest == b""  # the replica has closed its end
        return reply, msgspec.json.decode(line, type=wire.ReplicaStatus) if line else None

    def ask(self, name: str, path: str = "/", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = UnixHttp(self.directory / f"{name}.sock")
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found


@pytest.fixture
def short(tmp_path_factory) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zy") as directory:
        yield Path(directory)


@pytest.fixture
def zygote(short) -> Iterator[subprocess.Popen[bytes]]:
    path = short / "z.sock"
    process = subprocess.Popen([sys.executable, "-P", "-m", "functions_framework.zygote", "--socket", str(path)])
    connected = _connect(path, process)
    connected.close()
    yield process
    process.kill()
    process.wait()


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    while process.poll() is None:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(str(path))
        except OSError:
            stream.close()
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
        else:
            return stream
    raise AssertionError("the zygote ended")


@pytest.fixture
def starter(zygote, short) -> Iterator[Starter]:
    found = Starter(short, short / "z.sock")
    yield found
    found.stream.close()


ECHO = """
    import os
    import functions_framework as ff

    print("imported")

    def link(number):
        try:
            return os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            return ""

    @ff.http
    def look(request):
        return {
            "env": dict(os.environ),
            "cwd": os.getcwd(),
            "fds": {n: link(n) for n in os.listdir("/proc/self/fd") if link(n)},
            "sid": os.getsid(0), "pid": os.getpid(), "ppid": os.getppid(),
            "status": open("/proc/self/status").read(),
            "random": __import__("random").random(),
        }
"""


def test_a_replica_serves_and_owns_only_what_it_was_given(zygote, starter, short):
    source = write(short / "code", ECHO).parent

    started, ready = starter.fork("r1", source, env={"FLEET": "7", "EVOKE_LOG": "json", "POD_NAME": "r1"})
    status, body = starter.ask("r1")
    seen = json.loads(body)

    assert isinstance(started, wire.Started)
    assert isinstance(ready, wire.Descriptor)
    assert ready.handlers == ["look (http)"]
    assert ready.concurrency == 8
    assert status == 200
    assert (seen["pid"], seen["ppid"], seen["sid"]) == (started.pid, zygote.pid, started.pid)
    assert seen["cwd"] == str(source)
    assert seen["env"]["FLEET"] == "7"
    assert set(seen["env"]) - {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"} == {"FLEET", "EVOKE_LOG", "POD_NAME"}
    assert "NoNewPrivs:\t1" in seen["status"]
    assert seen["fds"]["1"] == str(starter.logs["r1"])
    sockets = [n for n, target in seen["fds"].items() if target.startswith("socket:")]
    assert len(sockets) <= 5  # listener, this connection, the loop's own pair
    line = json.loads(starter.logs["r1"].read_text().splitlines()[0])
    assert (line["message"], line["replica"], line["severity"]) == ("imported", "r1", "INFO")


def test_replicas_differ_in_their_randomness(starter, short):
    source = write(short / "code", ECHO).parent

    values = set()
    for name in ("r1", "r2"):
        starter.fork(name, source)
        values.add(json.loads(starter.ask(name)[1])["random"])

    assert len(values) == 2


def test_sigterm_lets_a_replica_drain_and_exit_with_zero(starter, short):
    source = write(
        short / "code",
        """
        import os, signal, threading
        import functions_framework as ff

        @ff.http
        def slow(request):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(0.1)
            return "done"
        """,
    ).parent
    started, _ = starter.fork("r1", source)

    answered = starter.ask("r1")

    assert answered == (200, b"done")
    assert isinstance(started, wire.Started)
    assert starter.reply() == wire.Exited(id="r1", pid=started.pid, code=0)


def test_signals_and_exits_are_told_to_every_starter(starter, short):
    source = write(short / "code", ECHO).parent
    started, _ = starter.fork("r1", source)
    assert isinstance(started, wire.Started)
    other = Starter(short, short / "z.sock")
    other.send(wire.Children())
    assert other.reply() == wire.Alive(children={"r1": started.pid})

    starter.send(wire.Signal(id="r1", number=signal.SIGKILL))

    gone = wire.Exited(id="r1", pid=started.pid, code=-9)
    assert (starter.reply(), other.reply()) == (gone, gone)
    other.send(wire.Children())
    assert other.reply() == wire.Alive()
    other.stream.close()


def test_code_that_cannot_be_loaded_is_reported_with_its_line(starter, short):
    source = write(short / "code", "import functions_framework\n\nimport celcius\n").parent

    _, failure = starter.fork("r1", source)

    assert isinstance(failure, wire.LoadFailure)
    assert (failure.code, failure.file, failure.line) == ("E180", "main.py", 3)
    assert failure.message == "ModuleNotFoundError: No module named 'celcius'"
    ended = starter.reply()
    assert isinstance(ended, wire.Exited)
    assert ended.code == 3
    assert "E180 ModuleNotFoundError" in starter.logs["r1"].read_text()


def test_an_import_that_hangs_is_reported(starter, short):
    source = write(short / "code", "import time\nwhile True:\n    time.sleep(1)\n").parent

    _, failure = starter.fork("r1", source, env={"EVOKE_IMPORT_TIMEOUT": "0.2"})

    assert isinstance(failure, wire.LoadFailure)
    assert "did not end within 0.2 s" in failure.message
    assert (failure.file, failure.line) == ("main.py", 3)


def test_code_that_is_gone_is_reported(starter, short):
    _, failure = starter.fork("r1", short / "none")

    assert isinstance(failure, wire.LoadFailure)
    assert "No such file or directory" in failure.message


def test_a_broken_context_is_reported(starter, short):
    source = write(short / "code", ECHO).parent

    _, failure = starter.fork("r1", source, env={"FUNC_CONTEXT": '{"outputs": 3}'})

    assert isinstance(failure, wire.LoadFailure)
    assert failure.message.startswith("environment: Expected `object | null`, got `int` - at `$.outputs`")


def test_sigterm_is_passed_on_and_the_zygote_ends_last(zygote, starter, short):
    started, _ = starter.fork("r1", write(short / "code", ECHO).parent)
    assert isinstance(started, wire.Started)

    zygote.terminate()

    assert starter.reply() == wire.Exited(id="r1", pid=started.pid, code=0)
    assert zygote.wait(10) == 0


def test_check_reports_and_exits_without_serving(starter, short):
    source = write(short / "code", ECHO).parent

    started, ready = starter.fork("r1", source, check=True)

    assert isinstance(started, wire.Started)
    assert isinstance(ready, wire.Descriptor)
    assert starter.reply() == wire.Exited(id="r1", pid=started.pid, code=0)


def test_replicas_end_with_their_zygote(zygote, starter, short):
    source = write(short / "code", ECHO).parent
    started, _ = starter.fork("r1", source)
    assert isinstance(started, wire.Started)
    watched = os.pidfd_open(started.pid)

    zygote.kill()
    zygote.wait()

    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)


def test_memory_is_limited(starter, short):
    source = write(
        short / "code",
        """
        import functions_framework as ff

        @ff.http
        def grow(request):
            try:
                bytearray(400 << 20)
            except MemoryError:
                return "refused"
            return "given"
        """,
    ).parent

    starter.fork("r1", source, limits=wire.Limits(memory=256 << 20, open_files=64))

    assert starter.ask("r1") == (200, b"refused")


def test_spawn_starts_another_program_that_dies_with_the_zygote(zygote, starter, short):
    log = os.open(short / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    inner = short / "inner.sock"
    argv = [sys.executable, "-P", "-m", "functions_framework.zygote", "--socket", str(inner)]
    starter.send(wire.Spawn(id="z-1", argv=argv, env={"X": "1"}), log)
    started = starter.reply()
    assert isinstance(started, wire.Started)
    watched = os.pidfd_open(started.pid)

    _connect(inner, zygote).close()
    below = Starter(short, inner)
    _, ready = below.fork("r1", write(short / "code", ECHO).parent)
    assert isinstance(ready, wire.Descriptor)
    zygote.kill()
    zygote.wait()

    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)
    os.close(log)
    below.stream.close()


def test_a_bad_request_is_refused_and_the_zygote_lives(starter, short):
    starter.stream.sendall(b'{"type":"nonsense"}\n')
    refused = starter.reply()
    starter.send(wire.Fork(id="r1", source=str(short)))
    unfit = starter.reply()

    assert isinstance(refused, wire.Failed)
    assert unfit == wire.Failed(id="r1", error="3 descriptors are needed, 0 came")
