"""A source folder as a content-addressed tree: the same files give the same digest on every machine, at any time.

Left out: names that begin with a dot (``.git``, ``.evoke``, ``.venv``, ``.env``...), ``__pycache__``, ``node_modules``,
``*.pyc``, ``venv`` folders that hold a ``pyvenv.cfg``, and the folder's own files that declare resources: an edit of
scale or delivery makes no other code. Modification times, owners and modes other than the execute bit do not count. A
link is kept when it stays inside the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from builder import manifests
from builder.errors import ChangedWhileCopied, LinkEscapes, OddFile, SourceNotFound, TreeTooLarge

LIMIT_FILES = 20_000
LIMIT_BYTES = 250 << 20
EXCLUDED = frozenset({"__pycache__", "node_modules"})


class Entry(msgspec.Struct, frozen=True):
    """One file or link; *path* is relative with forward slashes."""

    path: str
    executable: bool
    size: int
    stamp: tuple[int, int, int]
    """Device-independent sign of change: mtime in ns, inode, size."""
    link: str | None = None


class Tree(msgspec.Struct, frozen=True):
    """What a scan found; *digest* is ``sha256:<hex>``."""

    digest: str
    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


class Scanner:
    """Scans folders again and again, reading only files whose stamp changed since the last time."""

    def __init__(self) -> None:
        self._hashes: dict[str, dict[str, tuple[tuple[int, int, int], str]]] = {}
        self._trees: dict[str, Tree] = {}
        self._manifests: dict[str, dict[Entry, bool]] = {}

    def scan(self, folder: Path) -> Tree:
        """Digest of *folder* now; raises a BuildFailed for what cannot become a bundle."""
        if not folder.is_dir():
            raise SourceNotFound(str(folder))
        name = str(folder)
        entries = tuple(sorted(self._code(folder), key=lambda entry: entry.path))
        known = self._trees.get(name)
        if known is not None and known.entries == entries:
            return known
        before = self._hashes.get(name, {})
        hashes = {
            entry.path: (entry.stamp, _content(folder, entry, before))
            for entry in entries  # what is gone is forgotten with the rest
        }
        whole = hashlib.sha256()
        for entry in entries:
            kind = "l" if entry.link is not None else "x" if entry.executable else "f"
            whole.update(f"{kind} {hashes[entry.path][1]} {entry.path}\0".encode())
        self._hashes[name] = hashes
        self._trees[name] = Tree(f"sha256:{whole.hexdigest()}", entries)
        return self._trees[name]

    def _code(self, folder: Path) -> Iterator[Entry]:
        """Every file but those that declare resources."""
        before = self._manifests.get(str(folder), {})
        looked = self._manifests[str(folder)] = {}
        for entry in _walk(folder):
            if entry.link is None and manifests.may_declare(entry.path):
                known = before.get(entry)
                looked[entry] = manifests.declares(folder / entry.path) if known is None else known
            if not looked.get(entry):
                yield entry


def collect(folder: Path, tree: Tree, bundles: Path) -> Path:
    """Copy *tree* to ``bundles/<hex>``, atomically; a copy that exists is taken as it is.

    Raises ChangedWhileCopied when the digest no longer holds at the end.
    """
    target = bundles / tree.digest.removeprefix("sha256:")
    if target.is_dir():
        return target
    bundles.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=bundles, prefix=".new-"))
    try:
        for entry in tree.entries:
            _copy(folder / entry.path, work / entry.path, entry)
        copied = Scanner().scan(work)
        if copied.digest != tree.digest:
            raise ChangedWhileCopied(str(folder))
        work.chmod(0o755)
        work.rename(target)
    except FileExistsError:
        return target  # another maker was first with the same content
    except FileNotFoundError as error:
        raise ChangedWhileCopied(str(folder)) from error
    except OSError:
        if target.is_dir():
            return target
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _walk(folder: Path) -> Iterator[Entry]:
    files = size = 0
    pending = [""]
    root = os.path.realpath(folder)
    while pending:
        inside = pending.pop()
        with os.scandir(folder / inside) as found:
            for item in found:
                if item.name.startswith(".") or item.name in EXCLUDED or item.name.endswith(".pyc"):
                    continue
                path = f"{inside}{item.name}"
                info = item.stat(follow_symlinks=False)
                if item.is_dir(follow_symlinks=False):
                    if not (folder / path / "pyvenv.cfg").exists():
                        pending.append(f"{path}/")
                    continue
                yield _entry(root, folder, path, info)
                files, size = files + 1, size + info.st_size
                if files > LIMIT_FILES:
                    raise TreeTooLarge(path, f"{LIMIT_FILES:,} files")
                if size > LIMIT_BYTES:
                    raise TreeTooLarge(path, f"{LIMIT_BYTES >> 20} MiB")


def _entry(root: str, folder: Path, path: str, info: os.stat_result) -> Entry:
    stamp = (info.st_mtime_ns, info.st_ino, info.st_size)
    if stat.S_ISLNK(info.st_mode):
        target = (folder / path).readlink()
        goal = os.path.realpath(folder / path)
        if target.is_absolute() or os.path.commonpath([root, goal]) != root:
            raise LinkEscapes(path, str(target))
        return Entry(path, False, 0, stamp, str(target))
    if not stat.S_ISREG(info.st_mode):
        raise OddFile(path)
    return Entry(path, bool(info.st_mode & 0o100), info.st_size, stamp)


def _content(folder: Path, entry: Entry, before: dict[str, tuple[tuple[int, int, int], str]]) -> str:
    known = before.get(entry.path)
    if known is not None and known[0] == entry.stamp:
        return known[1]
    if entry.link is not None:
        return hashlib.sha256(entry.link.encode()).hexdigest()
    with (folder / entry.path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path, entry: Entry) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.link is not None:
        target.symlink_to(entry.link)
        return
    shutil.copyfile(source, target, follow_symlinks=False)
    target.chmod(0o755 if entry.executable else 0o644)
