"""The supervisor keeps its children running, stops them in order, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from controller.local.paths import prepare
from tests.local.conftest import alive, kill

PROGRAM = """
import sys, signal, os
from pathlib import Path
from cli import supervise
from controller.local.paths import prepare
from controller.local.processes import Lock
paths = prepare(Path(sys.argv[1]))
lock = Lock(paths.run / "lock", paths.state)
signal.pthread_sigmask(signal.SIG_BLOCK, supervise.SIGNALS)
order = paths.state / "order"
code = f'''
import signal, sys
def end(*_):
    open({str(order)!r}, "a").write(sys.argv[1] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
while True: signal.pause()
'''
names = ["nats", "zygote", "controller", "plane-0"]
children = [supervise.Child(name, [sys.executable, "-c", code, name], str(paths.log(name)), None) for name in names]
if len(sys.argv) > 2:
    children.append(supervise.Child("broken", [sys.executable, "-c", "raise SystemExit(3)"], str(paths.log("b")), None))
supervise.supervise(children, paths)
supervise.stop(children)
"""


class Supervisor:
    def __init__(self, state: Path, *words: str) -> None:
        self.paths = prepare(state)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(state), *words], stderr=subprocess.PIPE, text=True
        )

    def pids(self) -> dict[str, int]:
        try:
            found = msgspec.json.decode((self.paths.run / "children.json").read_bytes())
        except FileNotFoundError:
            return {}
        return {name: one["pid"] for name, one in found.items()}

    def until(self, fact, within=20.0):
        """Poll: the children of another process tell nobody when they are there."""
        end = time.monotonic() + within
        while not (found := fact()):
            assert time.monotonic() < end
            time.sleep(0.01)
        return found


@pytest.fixture
def supervisor(tmp_path):
    made = []

    def make(*words):
        made.append(Supervisor(tmp_path / "state", *words))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.process.stderr.close()


def listens(pid: int) -> bool:
    """Whether the child has set its SIGTERM handler."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def running(supervisor):
    return supervisor.until(
        lambda: len(found := supervisor.pids()) == 4 and all(map(listens, found.values())) and found
    )


def test_children_stop_in_order(supervisor):
    one = supervisor()
    pids = running(one)

    one.process.send_signal(signal.SIGTERM)

    assert one.process.wait(20) == 0
    assert (one.paths.state / "order").read_text().split() == ["plane-0", "controller", "zygote", "nats"]
    assert not any(map(alive, pids.values()))


def test_a_killed_child_is_restarted_and_the_others_are_not(supervisor):
    one = supervisor()
    before = running(one)

    kill(before["controller"])
    after = one.until(lambda: (pids := one.pids()) and pids["controller"] not in {0, before["controller"]} and pids)

    assert {name: pid for name, pid in after.items() if name != "controller"} == {
        name: pid for name, pid in before.items() if name != "controller"
    }


def test_a_killed_supervisor_leaves_nobody_and_frees_the_lock(supervisor):
    one = supervisor()
    pids = running(one)

    one.process.kill()
    one.process.wait()

    one.until(lambda: not any(map(alive, pids.values())))
    running(supervisor())


def test_a_child_that_keeps_dying_is_reported_and_holds_nobody_up(supervisor):
    one = supervisor("broken")
    line = one.process.stderr.readline()

    assert line.startswith("evoke: broken ended with exit code 3; see ")
    assert "again in" in line
    assert one.until(lambda: len([pid for pid in one.pids().values() if pid]) >= 4)


def test_a_second_one_on_the_same_state_says_who_holds_it(tmp_path, supervisor):
    one = supervisor()
    running(one)

    second = subprocess.run(
        [sys.executable, "-P", "-m", "cli.supervise", "--state", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ},
    )

    assert second.returncode == 1
    assert f"E190 a platform already runs on {tmp_path / 'state'} (pid {one.process.pid})" in second.stderr
    assert "evoke down" in second.stderr
