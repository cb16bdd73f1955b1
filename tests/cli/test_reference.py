"""docs/reference/cli.md says what the commands say, and every code that they use is explained."""

from __future__ import annotations

import re
from pathlib import Path

from api.codes import CODES
from cli.app import NAMES
from cli.reference import page

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_page_is_current() -> None:
    found = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")

    assert found == page(), "run scripts/generate.py"
    assert [name for name in NAMES if f"## evoke {name}\n" not in found] == []


def test_every_code_of_the_command_line_is_explained() -> None:
    used = {code for path in (ROOT / "cli").rglob("*.py") for code in re.findall(r'"(E1\d\d)\b', path.read_text())}

    assert used - CODES.keys() == set()
