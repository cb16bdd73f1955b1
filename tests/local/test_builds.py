"""From a folder to a bundle, whatever language its program is in."""

import asyncio

from api.actions import StartBuild
from api.meta import Key
from api.model import Build, Directory
from controller.local.builds import Builds
from controller.local.environments import Environment
from controller.local.trees import Trees

F = Key("default", "f")


class Base:
    """Environments where none needs to be made."""

    def __init__(self, path):
        self.path, self.asked = path, []

    async def ensure(self, requirements=(), *, log=None, framework=True):
        self.asked.append((requirements, framework))
        return Environment("sha256:base", self.path)


def build(paths, folder, **fields):
    async def go():
        done = asyncio.Event()
        base = Base(paths.state)
        builds = Builds(paths, base, Trees(done.set), done.set)
        builds.start(StartBuild(build=Build(key=F, source=Directory(path=str(folder)), **fields), digest="d"))
        await asyncio.wait_for(done.wait(), 20)
        return builds.states()[str(F)], base.asked

    return asyncio.run(go())


def test_a_program_in_node_finds_its_modules(paths, tmp_path):
    folder = tmp_path / "app"
    (folder / "node_modules" / "express").mkdir(parents=True)
    (folder / "node_modules" / "express" / "index.js").write_text("module.exports = 1\n")
    (folder / "app.js").write_text("require('express')\n")

    state, asked = build(paths, folder)
    moved = folder.rename(tmp_path / "moved")
    again, _ = build(paths, moved)

    assert state.phase == "succeeded"
    assert asked == [((), True)]
    bundle = paths.bundles / state.artifact.code.removeprefix("sha256:")
    assert (bundle / "node_modules" / "express" / "index.js").exists()
    assert (bundle / "node_modules").readlink() == moved / "node_modules"
    assert again.artifact == state.artifact


def test_a_compiled_program_stays_executable(paths, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "server").write_bytes(b"\x7fELF")
    (folder / "server").chmod(0o755)

    state, _ = build(paths, folder)

    assert (paths.bundles / state.artifact.code.removeprefix("sha256:") / "server").stat().st_mode & 0o111


def test_requirements_of_another_program_are_its_own(paths, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "requirements.txt").write_text("functions-framework==3.8\nclick<8\n")

    state, asked = build(paths, folder, framework=False)
    refused, _ = build(paths, folder)

    assert state.phase == "succeeded"
    assert asked == [(("click<8", "functions-framework==3.8"), False)]
    assert "the platform brings its own functions_framework" in refused.message
