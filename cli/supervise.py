"""Starts the processes of one local platform, restarts them, and stops them in order. Decides nothing.

``python -m cli.supervise --state DIR [--port N] [--proxies N] [--durability os] [--no-watch]``. When this process ends
the kernel ends the children (PDEATHSIG) and frees the lock, so that no start ever meets the remains of an earlier one.
PDEATHSIG follows the forking thread: everything here happens in the main thread.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from api.errors import EvokeError
from controller.local.paths import Paths, prepare
from controller.local.processes import Lock, die_with_parent, ending

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds before a restart; doubled every time until the child lived for STEADY."""
STEADY = 10.0
ROUNDS = 3
"""How often everything is prepared before a child that cannot start is only started again."""
STOP_ORDER = {"plane": 20.0, "controller": 45.0, "zygote": 5.0, "nats": 10.0}
"""Deliveries finish first, then the functions drain, then what they stood on goes: seconds between TERM and KILL."""
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Child:
    """One process: how to start it, and how its last runs went."""

    def __init__(self, name: str, argv: list[str], log: str, env: dict[str, str] | None) -> None:
        self.name, self._argv, self._log, self._env = name, argv, Path(log), env
        self.process: subprocess.Popen[bytes] | None = None
        self.wait = FIRST_WAIT
        self.due = self.began = 0.0
        self.problem = ""

    def start(self, now: float) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 # what prepare.py named
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
                preexec_fn=_before_exec,  # noqa: PLW1509 # this process has one thread
            )
        self.began = now

    def reap(self, now: float) -> str:
        """Note that it ended, if so; answers how."""
        if self.process is None or self.process.poll() is None:
            return ""
        code, self.process = self.process.returncode, None
        steady = now - self.began >= STEADY
        self.wait = FIRST_WAIT if steady else min(self.wait * 2, LONGEST_WAIT)
        self.due = now + (0.0 if steady else self.wait / 2)
        self.problem = f"{self.name} ended with {ending(code)}; see {self._log}"
        return self.problem


def _before_exec() -> None:
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def supervise(children: list[Child], paths: Paths, *, doubtful: bool = False) -> bool:
    """Keep *children* running until SIGTERM, SIGINT or SIGHUP.

    While *doubtful*, a child that ends twice in its first STEADY seconds ends this with True: what was prepared does
    not hold, most likely because somebody else took a port in between.
    """
    started = time.monotonic()
    while True:
        now = time.monotonic()
        doubtful = doubtful and now - started < STEADY
        for child in children:
            ended = child.reap(now)
            if ended and doubtful and child.wait >= 4 * FIRST_WAIT:
                return True
            if ended and child.wait > 4 * FIRST_WAIT:
                _say(f"{ended}; again in {child.due - now:.1f} s")
            if child.process is None and child.due <= now:
                child.start(now)
            if child.problem and child.process is not None and now - child.began >= STEADY:
                child.problem, child.wait = "", FIRST_WAIT
        _report(children, paths)
        waiting = [child.due for child in children if child.process is None]
        timeout = max(0.0, min(waiting, default=now + STEADY) - time.monotonic())
        received = signal.sigtimedwait(SIGNALS, timeout)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return False


def stop(children: list[Child]) -> None:
    """Stop all, kind by kind: TERM, wait, KILL."""
    for kind, patience in STOP_ORDER.items():
        mine = [child.process for child in children if child.name.startswith(kind) and child.process is not None]
        for process in mine:
            process.terminate()
        for process in mine:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _say(text: str) -> None:
    sys.stderr.write(f"evoke: {text}\n")
    sys.stderr.flush()


def _report(children: list[Child], paths: Paths) -> None:
    """Write RUN/children.json: name -> pid and problem."""
    facts = {one.name: {"pid": one.process.pid if one.process else 0, "problem": one.problem} for one in children}
    draft = paths.run / ".children.json"
    draft.write_bytes(msgspec.json.encode(facts))
    draft.replace(paths.run / "children.json")


def main() -> int:
    """Run until told to stop; 1 when another platform has the lock or the preparation fails."""
    parser = argparse.ArgumentParser(prog="evoke up")
    parser.add_argument("--state", type=Path, default=Path(".evoke"))
    state = parser.parse_known_args()[0].state.absolute()
    os.umask(0o077)
    try:
        paths = prepare(state)
        lock = Lock(paths.run / "lock", state)
    except (EvokeError, OSError) as error:
        _say(str(error))
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    command = [sys.executable, "-P", "-m", "controller.local.prepare", *sys.argv[1:], "--state", str(state)]
    children: list[Child] = []
    try:
        for left in reversed(range(ROUNDS)):
            prepared = subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=_before_exec, check=False)  # noqa: S603 # ours
            children = [Child(**child) for child in msgspec.json.decode(prepared.stdout or b"[]")]
            if prepared.returncode or not supervise(children, paths, doubtful=left > 0):
                break
            stop(children)
    finally:
        stop(children)
        with contextlib.suppress(OSError):
            (paths.run / "children.json").unlink()
        lock.release()
    return 1 if prepared.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
