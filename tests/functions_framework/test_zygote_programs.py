"""Another program as a replica of a real zygote: what it is given, how its group is signalled, how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path

from functions_framework import zygote_wire as wire
from tests.functions_framework.test_zygote import (  # noqa: F401 - the fixtures of the same zygote
    Starter,
    _connect,
    short,
    starter,
    zygote,
)
from tests.platform import until

LOOK = """
import json, os, signal, sys
print(json.dumps({
    "argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(), "sid": os.getsid(0),
    "fds": sorted(int(n) for n in os.listdir("/proc/self/fd")), "status": open("/proc/self/status").read(),
}))
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; print('child', flush=True); time.sleep(600)"])
print("pid", child.pid, flush=True)
{then}
"""


def folder(short: Path, code: str) -> Path:  # noqa: F811 - as above
    source = short / "code"
    source.mkdir(exist_ok=True)
    (source / "app.py").write_text(code)
    return source


def run(starter: Starter, source: Path, *words: str, **more: object) -> tuple[wire.Reply, wire.ReplicaStatus | None]:  # noqa: F811
    return starter.fork("p1", source, command=list(words or (sys.executable, "-u", "app.py")), **more)


def text(starter: Starter, *words: str) -> str:  # noqa: F811
    """The log once it holds *words*; the pipe of the status has no news of it."""
    log = starter.logs["p1"]
    until(lambda: all(word in log.read_text() for word in words), what=f"{words} in the log")
    return log.read_text()


def test_a_program_owns_only_what_it_was_given(zygote, starter, short):  # noqa: F811
    source = folder(short, LOOK)

    started, status = run(starter, source, env={"PATH": f"{Path(sys.executable).parent}", "APP_PORT": "7"})
    ended = starter.reply()
    seen = json.loads(starter.logs["p1"].read_text())

    assert isinstance(started, wire.Started)
    assert status is None
    assert ended == wire.Exited(id="p1", pid=started.pid, code=0)
    assert (seen["pid"], seen["sid"]) == (started.pid, started.pid)
    assert (seen["argv"], seen["cwd"]) == (["app.py"], str(source))
    assert seen["env"]["APP_PORT"] == "7"
    assert set(seen["env"]) - {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"} == {"PATH", "APP_PORT"}
    assert seen["fds"] == [0, 1, 2, 3]  # the third is the listing of this folder
    fields = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"


def test_a_program_ignores_no_signal_for_our_sake(starter, short):  # noqa: F811
    run(starter, folder(short, ""), "grep", "SigIgn", "/proc/self/status")

    assert isinstance(starter.reply(), wire.Exited)
    ignored = int(starter.logs["p1"].read_text().split()[1], 16)
    # Python ignores these two; others may have been ignored for the tests as a whole
    assert not [one for one in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (one - 1) & 1]


def test_a_program_that_is_not_there_is_reported(starter, short):  # noqa: F811
    _, failure = run(starter, folder(short, ""), "no-such-program", "--flag")

    assert isinstance(failure, wire.LoadFailure)
    assert failure.message == "program no-such-program cannot be started: No such file or directory"
    assert starter.logs["p1"].read_text().startswith("E180 program no-such-program")


def test_a_signal_goes_to_all_that_the_program_started(starter, short):  # noqa: F811
    started, _ = run(starter, folder(short, PARENT.format(then="child.wait()")))
    assert isinstance(started, wire.Started)
    child = int(text(starter, "pid", "child").split("pid ")[1].split()[0])
    watched = os.pidfd_open(child)

    starter.send(wire.Signal(id="p1", number=signal.SIGTERM))

    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)
    assert starter.reply() == wire.Exited(id="p1", pid=started.pid, code=-signal.SIGTERM)


def test_what_a_program_leaves_behind_ends_with_it(starter, short):  # noqa: F811
    gate = short / "gate"
    os.mkfifo(gate)
    then = f"open({str(gate)!r}).read(); sys.exit(4)"
    started, _ = run(starter, folder(short, PARENT.format(then=then)))
    assert isinstance(started, wire.Started)
    child = int(text(starter, "pid", "child").split("pid ")[1].split()[0])
    watched = os.pidfd_open(child)

    gate.open("w").close()

    assert starter.reply() == wire.Exited(id="p1", pid=started.pid, code=4)
    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)


def test_a_program_ends_with_its_zygote(zygote, starter, short):  # noqa: F811
    started, _ = run(starter, folder(short, PARENT.format(then="child.wait()")))
    assert isinstance(started, wire.Started)
    watched = os.pidfd_open(started.pid)
    left = int(text(starter, "pid", "child").split("pid ")[1].split()[0])

    zygote.kill()
    zygote.wait()

    assert select.select([watched], [], [], 10)[0] == [watched]
    os.close(watched)
    os.kill(left, signal.SIGKILL)  # nobody is left to end what the program had started but the next controller
