"""The README does what it says: its files are written down, its commands are run, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown import blocks
from tests.platform import Platform

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.platform
def test_the_example_runs_as_written(tmp_path: Path) -> None:
    project = tmp_path / "readme"
    project.mkdir()
    commands: list[str] = []
    for block in blocks(ROOT / "README.md"):
        if block.file:
            (project / block.file).write_text(block.text)
        elif block.language == "sh":
            commands = [line for line in block.text.splitlines() if line]
    said: dict[str, str] = {}

    try:
        for command in commands:
            done = subprocess.run(
                command.replace("evoke ", f"{Path(sys.executable).with_name('evoke')} ", 1),
                shell=True,
                cwd=project,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            said[command.split(" -")[0]] = done.stdout
    finally:
        Platform(project).down()

    assert "on-reading" in said["evoke get functions"]
    assert "published 1 (acknowledged)" in said["evoke publish sensors/kitchen"]
    assert "sensors/kitchen is hot: 31" in said["evoke tail alarms"]
    assert "/hello" in said["evoke invoke on-reading"]
    assert said["evoke describe function on-reading"].startswith("Ready True")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
