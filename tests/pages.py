"""Run a documentation page as it stands: write its named files, run its commands, check what it says they print.

In an ``sh`` block a line ``# -> text`` says that the output of the command before it contains *text*.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.markdown import blocks
from tests.platform import Platform

EVOKE = Path(sys.executable).with_name("evoke")
TIMEOUT = 90.0


def replay(page: Path, project: Path) -> None:
    """Run *page* in the folder *project*; raises AssertionError with what a command printed."""
    project.mkdir(exist_ok=True)
    script: list[str] = []
    for block in blocks(page):
        if block.file:
            (project / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh" and "evoke" in block.text:
            script += block.text.splitlines()
    try:
        _run(script, project)
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
