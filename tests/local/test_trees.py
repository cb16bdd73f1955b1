"""Folders are looked at again, and a change is told once it has settled."""

import asyncio

from controller.local.trees import Trees


def test_a_change_is_told_and_an_unchanged_folder_is_not(tmp_path):
    (tmp_path / "main.py").write_text("a = 1\n")
    told = []

    async def go():
        trees = Trees(lambda: told.append(1))
        before = await trees.digests([str(tmp_path)])
        await trees.refresh()
        assert told == []
        (tmp_path / "main.py").write_text("a = 22\n")
        await trees.refresh()
        return before, await trees.digests([str(tmp_path)])

    before, after = asyncio.run(go())
    assert told == [1]
    assert before != after


def test_a_folder_that_is_not_there_is_absent_and_one_that_is_refused_has_a_digest(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "link").symlink_to("/etc/passwd")

    async def go():
        return await Trees(lambda: None).digests([str(tmp_path / "no"), str(tmp_path / "bad")])

    found = asyncio.run(go())
    assert list(found) == [str(tmp_path / "bad")]
    assert found[str(tmp_path / "bad")].startswith("refused:")
