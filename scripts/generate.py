"""Write what is made from the types, commands and components: the CRDs of charts/evoke-crds and docs/reference.

`--check` writes nothing and exits 1 when a file is not what the types say.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from api import reference, schema
from api.kinds import KINDS
from cli import reference as commands
from proxy.components import reference as components

ROOT = Path(__file__).resolve().parent.parent
CHARTS = Path("charts/evoke-crds/templates")
REFERENCE = Path("docs/reference")


def wanted() -> dict[Path, str]:
    """Every generated file with its content."""
    found = {CHARTS / f"{info.plural}.yaml": _crd(info.kind) for info in KINDS.values() if info.own}
    found |= {REFERENCE / name: text for name, text in reference.pages().items()}
    return found | {REFERENCE / "cli.md": commands.page(), REFERENCE / "components.md": components.page()}


def _crd(kind: str) -> str:
    (info,) = (info for info in KINDS.values() if info.kind == kind)
    text = yaml.safe_dump(schema.crd(info), sort_keys=False, width=120, allow_unicode=True)
    return "# Made by scripts/generate.py from api/kinds; edit there.\n" + text.replace("{{", '{{ "{{" }}')


def drift(root: Path) -> list[str]:
    """Names of files that are missing, outdated or no longer made."""
    files = wanted()
    made = {path.relative_to(root) for folder in (CHARTS, REFERENCE) for path in (root / folder).glob("*")}
    changed = [path for path, text in files.items() if not _is(root / path, text)]
    return sorted(str(path) for path in {*changed, *(made - files.keys())})


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def write(root: Path) -> None:
    for name in drift(root):
        (root / name).unlink(missing_ok=True)
    for path, text in wanted().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not _is(root / path, text):
            (root / path).write_text(text, encoding="utf-8")


def main() -> int:
    if "--check" not in sys.argv[1:]:
        write(ROOT)
        return 0
    found = drift(ROOT)
    for name in found:
        print(f"{name} is not what the types say; run scripts/generate.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
