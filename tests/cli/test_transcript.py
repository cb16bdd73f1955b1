"""The first five minutes, as they are documented, on the real platform: word for word, figures apart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

EVOKE = str(Path(sys.executable).with_name("evoke"))
DEADLINE = 60.0
"""Seconds that any step may take; reaching it is a failure, never a pause."""

FIGURES = {
    r"127\.0\.0\.1:\d+": "ADDRESS",
    r"\(attempt \d+\)": "(attempt N)",
    r"\d+ ms": "N ms",
    r"again in [\d.]+ s": "again in N s",
    r"nats \d+\.\d+": "nats VERSION",
}
"""What may differ from the documented text."""


def plain(line: str) -> str:
    """*line* without its figures."""
    for pattern, word in FIGURES.items():
        line = re.sub(pattern, word, line)
    return line


class Terminal:
    """The first terminal: `evoke up`, and what it has printed so far."""

    def __init__(self, project: Path) -> None:
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._at = 0
        self.process = subprocess.Popen(
            [EVOKE, "up"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line.rstrip("\n"))
                self._more.notify_all()

    def next(self) -> str:
        """The next line, figures apart."""
        with self._more:
            came = self._more.wait_for(lambda: len(self._lines) > self._at, DEADLINE)
            assert came, f"nothing more within {DEADLINE:.0f} s after:\n{self.text}"
            self._at += 1
            return plain(self._lines[self._at - 1])

    def until(self, wanted: str) -> list[str]:
        """Read up to the line *wanted*; answers what stood before it."""
        before: list[str] = []
        while (line := self.next()) != plain(wanted):
            before.append(line)
        return before

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def close(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(DEADLINE)
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for project in tmp_path.iterdir():
        if (project / ".evoke").is_dir():
            subprocess.run([EVOKE, "down", "--purge", "--yes"], cwd=project, capture_output=True, check=False)


def shell(command: str, where: Path) -> str:
    """The second terminal; what it prints."""
    path = f"{Path(EVOKE).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=where,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.platform
def test_the_first_five_minutes(folder: Path) -> None:
    made = shell("evoke new sensors -t mqtt && cd sensors", folder)
    assert made == "created main.py function.yaml test_main.py        next: evoke up\n"
    project = folder / "sensors"

    first = Terminal(project)
    try:
        for line in (
            "local · state .evoke · http 127.0.0.1:8080 · mqtt 127.0.0.1:1883",
            "eventbus/default        ready    nats 2.15, on disk",
            "eventsource/readings    ready    mqtt sensors/# -> function/on-reading, through eventbus/default",
            "function/on-reading     ready    revision 00001, 0 replicas (starts on the first event)",
            "watching 2 files; Ctrl-C stops, data stays",
        ):
            assert first.next() == plain(line)

        publish = "evoke publish sensors/kitchen --source readings -d "
        assert shell(publish + """'{"celsius": 31}'""", project) == "published 1 (acknowledged)\n"
        assert first.next() == plain("on-reading  0 -> 1  event waiting, lag 1        ready in 9 ms")
        assert first.next() == "on-reading  kitchen is hot: 31"

        shell("sed -i 's/celsius/celcius/' main.py", project)
        assert first.next() == "function/on-reading     ready    revision 00002"
        assert shell(publish + """'{"celsius": 32}'""", project) == "published 1 (acknowledged)\n"
        assert first.next() == plain("on-reading  attempt 1 of 10 failed: KeyError 'celcius' (main.py:9); again in 1 s")

        shell("sed -i 's/celcius/celsius/' main.py", project)
        between = first.until("on-reading  kitchen is hot: 32                  (attempt 4)")
        assert [line for line in between if "failed: KeyError 'celcius' (main.py:9); again in" not in line] == [
            "function/on-reading     ready    revision 00003"
        ]

        headline = re.compile(
            r"Ready True · 1 replica of 0\.\.10, by Evoke: in-flight 0, lag 0, "
            r"to zero in [45] min( \d+ s)? · dead letters 0\n*"
        )
        end = time.monotonic() + DEADLINE
        while not headline.fullmatch(described := shell("evoke describe function on-reading | head -3", project)):
            assert time.monotonic() < end, described  # the readings of a second ago still say in-flight 1
    finally:
        code = first.close()

    assert code == 130
    assert (project / ".evoke" / "state.db").exists()
