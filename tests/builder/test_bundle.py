"""A tree's digest says what the files hold, and nothing else about them."""

import os

import pytest

from builder.bundle import Scanner, collect
from builder.errors import ChangedWhileCopied, LinkEscapes, OddFile, SourceNotFound, TreeTooLarge


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    (source / "lib").mkdir(parents=True)
    (source / "main.py").write_text("def f(event): ...\n")
    (source / "lib" / "a.py").write_text("A = 1\n")
    return source


def digest(folder):
    return Scanner().scan(folder).digest


def test_times_and_excluded_names_do_not_count(folder):
    before = digest(folder)
    os.utime(folder / "main.py", (1, 1))
    (folder / ".env").write_text("SECRET=1")
    for name in (".git", ".evoke", "__pycache__", ".venv", "node_modules"):
        (folder / name).mkdir()
        (folder / name / "x.py").write_text("x")
    (folder / "my-venv").mkdir()
    (folder / "my-venv" / "pyvenv.cfg").write_text("home = /")
    (folder / "old.pyc").write_bytes(b"")

    assert digest(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "main.py").write_text("def f(event): pass\n"),
        lambda folder: (folder / "main.py").rename(folder / "app.py"),
        lambda folder: (folder / "main.py").chmod(0o755),
        lambda folder: (folder / "lib" / "b.py").write_text(""),
        lambda folder: (folder / "link.py").symlink_to("main.py"),
    ],
)
def test_content_names_and_execute_bits_count(folder, change):
    scanner = Scanner()
    before = scanner.scan(folder).digest

    change(folder)

    assert scanner.scan(folder).digest == digest(folder) != before


def test_a_scan_without_change_reads_no_file(folder, monkeypatch):
    scanner = Scanner()
    before = scanner.scan(folder)
    monkeypatch.setattr("builder.bundle._content", lambda *_: pytest.fail("read a file again"))

    assert scanner.scan(folder) is before


def test_links_out_of_the_tree_are_refused(folder):
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(LinkEscapes, match="E171 passwd links to /etc/passwd"):
        digest(folder)
    (folder / "passwd").unlink()
    (folder / "lib" / "up").symlink_to("../../elsewhere")
    with pytest.raises(LinkEscapes):
        digest(folder)


def test_pipes_and_large_trees_are_refused(folder, monkeypatch):
    monkeypatch.setattr("builder.bundle.LIMIT_FILES", 1)
    with pytest.raises(TreeTooLarge, match="E173"):
        digest(folder)
    monkeypatch.undo()
    os.mkfifo(folder / "pipe")
    with pytest.raises(OddFile, match="E172"):
        digest(folder)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(SourceNotFound, match="E170"):
        digest(tmp_path / "no")


def test_a_bundle_is_the_same_tree_and_is_made_once(folder, tmp_path):
    (folder / "link.py").symlink_to("main.py")
    tree = Scanner().scan(folder)

    made = collect(folder, tree, tmp_path / "bundles")

    assert digest(made) == tree.digest
    assert made.name == tree.digest.removeprefix("sha256:")
    (folder / "main.py").write_text("changed after")
    assert collect(folder, tree, tmp_path / "bundles") == made
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [made.name]


def test_a_change_under_the_copy_is_noticed(folder, tmp_path):
    tree = Scanner().scan(folder)
    (folder / "main.py").write_text("changed in between")

    with pytest.raises(ChangedWhileCopied):
        collect(folder, tree, tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


FUNCTION = "apiVersion: core.openfunction.io/v1beta2\nkind: Function\nmetadata: {name: f}\n"


@pytest.mark.parametrize(
    "manifest",
    [
        FUNCTION,
        "# mine\n---\napiVersion: v1\nkind: Secret\n---\n" + FUNCTION,
        '{\n  "kind": "Trigger",\n  "apiVersion": "events.openfunction.io/v1alpha1"\n}',
        '{"kind": "Trigger", "apiVersion": "events.openfunction.io/v1alpha1"}',
        FUNCTION + "spec: [is being: edited",
    ],
)
@pytest.mark.parametrize("name", ["function.yaml", "more.yml", "f.json"])
def test_what_declares_resources_is_no_part_of_the_code(folder, tmp_path, manifest, name):
    scanner = Scanner()
    before = scanner.scan(folder).digest

    (folder / name).write_text(manifest)
    tree = scanner.scan(folder)

    assert tree.digest == before == digest(folder)
    assert not (collect(folder, tree, tmp_path / "bundles") / name).exists()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("settings.yaml", "limit: 3\n"),
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n"),
        ("lib/template.yaml", FUNCTION),
        ("notes.txt", FUNCTION),
        ("nested.yaml", "template:\n  apiVersion: core.openfunction.io/v1beta2\n"),
        ("told.yaml", "text: >\n  say apiVersion: core.openfunction.io/v1beta2\n"),
    ],
)
def test_any_other_file_is_code(folder, path, content):
    scanner = Scanner()
    before = scanner.scan(folder).digest

    (folder / path).write_text(content)

    assert scanner.scan(folder).digest == digest(folder) != before
