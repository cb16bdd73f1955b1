"""The README, the guides and the samples do what they say, and their links lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.pages import replay

ROOT = Path(__file__).resolve().parent.parent
RUNNABLE = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs" / "guides").glob("*.md")) if page.name != "first-five-minutes.md"),
]
SAMPLES = sorted((ROOT / "samples").glob("*/README.md"))
PAGES = [
    *SAMPLES,
    ROOT / "samples" / "README.md",
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.platform
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_page_runs_as_written(page: Path, tmp_path: Path) -> None:
    replay(page, tmp_path / "project")


@pytest.mark.platform
@pytest.mark.parametrize("page", SAMPLES, ids=name)
def test_sample_runs_as_its_readme_says(page: Path, tmp_path: Path) -> None:
    shutil.copytree(page.parent, tmp_path / "project")
    replay(page, tmp_path / "project")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
