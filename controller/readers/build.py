"""Where a function's code comes from: its Build, or the image that runs."""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Literal

import msgspec

from api.actions import Resource
from api.documents import FOLDER
from api.errors import Problem
from api.kinds.build import BuildBody, SourceRepository
from api.kinds.openfunction import FunctionSpec
from api.model import Artifact, Build, BuildSource, Directory, Env, Git, Image, SourceImage, Unbuilt, digest
from controller.readers.delivery import duration

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:")
_PYTHON = re.compile(r"(^|/)(gcp-builder|builder-python|python)(:|@|-|$)")
"""Upstream's builder images for Python: a bundle is built instead."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica will run, and how that comes to be."""

    artifact: Artifact
    build: Build | None = None
    problems: tuple[Problem, ...] = ()


def read_build(
    resource: Resource, spec: FunctionSpec, capabilities: Collection[str], *, framework: bool = True
) -> Made:
    """*framework*: it is code for functions_framework, and no other program."""
    if spec.build is None and spec.image is not None:
        pull = spec.image_credentials.name if spec.image_credentials else None
        problems = () if "images" in capabilities else (_unbuildable("spec.image"),)
        return Made(artifact=Image(reference=spec.image, pull_secret=pull), problems=problems)
    given = spec.build or BuildBody()
    source = _source(resource, given.src_repo or SourceRepository())
    build = Build(
        key=resource.key,
        source=source,
        strategy=_strategy(given),
        env=tuple(Env(name, value) for name, value in sorted(given.env.items())),
        timeout=duration(given.timeout, timedelta(minutes=10)),
        framework=framework,
    )
    return Made(artifact=Unbuilt(build=digest(build)), build=build, problems=tuple(_problems(build)))


def _source(resource: Resource, given: SourceRepository) -> BuildSource:
    if given.bundle_container is not None:
        return SourceImage(reference=given.bundle_container.image, subpath=given.source_sub_path or "")
    url = given.url or "."
    if _REMOTE.match(url) and not url.startswith("file://"):
        return Git(
            url=url,
            revision=given.revision or "",
            subpath=given.source_sub_path or "",
            credentials=given.credentials.name if given.credentials else None,
        )
    folder = resource.annotations.get(FOLDER, "")
    parts = (folder, url.removeprefix("file://"), (given.source_sub_path or "").lstrip("/"))
    return Directory(path=os.path.normpath(os.path.join(*parts)))  # noqa: PTH118 - text only: nothing is looked at here


def _strategy(given: BuildBody) -> Literal["bundle", "dockerfile", "shipwright"]:
    if given.dockerfile is not None:
        return "dockerfile"
    foreign = given.builder is not None and not _PYTHON.search(given.builder)
    return "shipwright" if foreign or given.shipwright is not None else "bundle"


def _problems(build: Build) -> list[Problem]:
    found = []
    if not isinstance(build.source, Directory):
        found.append(_unbuildable("spec.build.srcRepo"))
    if build.strategy != "bundle":
        found.append(_unbuildable("spec.build"))
    return found


def _unbuildable(path: str) -> Problem:
    return Problem(
        code="NotYet",
        path=path,
        message="functions are built from Python source folders in this release; name one in build.srcRepo.url",
    )
