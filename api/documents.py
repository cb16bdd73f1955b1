"""Resources as people write them: YAML files, folders, standard input -> checked Documents.

``read`` answers every resource or raises InvalidInput with every problem of every file, each with file, line, field
path and what to do. ``decode`` does the same for one resource that came over the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, BinaryIO

import msgspec

from api import consistency, metadata, older
from api.consistency.loops import Member, loops, may_loop
from api.errors import InvalidInput, Problem
from api.files import STDIN_NAME, contents
from api.kinds import KINDS, REFUSED, KindInfo
from api.meta import Key
from api.structure import MAX_FAULTS, Bad, Fault, check, shape, similar
from api.tree import Node, Path, text_of
from api.yaml_reader import MAX_DEPTH, Reader

MAX_TOTAL = 16 << 20
FOLDER = "evoke.dev/folder"
"""Annotation of a Function: the folder its YAML stands in, from which build.srcRepo.url is relative."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One resource as written, where it stands, and what its body means."""

    resource: dict[str, Any]
    """apiVersion, kind, metadata (namespace filled in), spec... without lines."""
    file: str = ""
    line: int = 0
    info: KindInfo
    key: Key
    spec: Any = None
    """Struct of api.kinds."""
    notes: tuple[Problem, ...] = ()
    """What an older API version said that has no place in this one."""

    @property
    def body(self) -> dict[str, Any]:
        """What stands under ``spec``, the fields that stand beside it put in: what decode_spec() reads back."""
        return body(self.resource, self.info)


class _Draft:
    """A document while its problems are collected."""

    def __init__(self, resource: Any, file: str, line: int, tree: Node | None, folder: str) -> None:
        self.resource, self.file, self.line, self.tree, self.folder = resource, file, line, tree, folder
        self.faults: list[Fault] = []
        self.notes: tuple[Fault, ...] = ()
        self.document: Document | None = None

    def problems(self) -> Iterator[Problem]:
        for fault in self.faults[:MAX_FAULTS]:
            yield self.problem(fault)
        if len(self.faults) > MAX_FAULTS:
            yield self.problem(Fault("E109", (), f"more than {MAX_FAULTS} problems; the first ones are shown"))

    def problem(self, fault: Fault) -> Problem:
        line = self.tree.line_of(fault.path) if self.tree else self.line
        return Problem(code=fault.code, message=fault.message, path=text_of(fault.path), file=self.file, line=line)


def read(
    paths: Iterable[str | FilePath], *, stdin: BinaryIO | None = None, namespace: str = "default"
) -> tuple[Document, ...]:
    """Read files, folders (their YAML and JSON files, not those of sub-folders) and ``-`` (*stdin*).

    *namespace* is for resources that name none. Raises InvalidInput.
    """
    problems: list[Problem] = []
    drafts: list[_Draft] = []
    total = 0
    for file, content in contents(paths, stdin, problems):
        total += len(content)
        if total > MAX_TOTAL:
            problems.append(Problem(code="E107", message="more than 16 MiB in all", file=file))
            break
        reader = Reader(file)
        folder = str(FilePath(file).absolute().parent if file != STDIN_NAME else FilePath.cwd())
        drafts += [_renewed(_Draft(node.plain(), file, node.line, node, folder)) for node in reader.documents(content)]
        problems += reader.problems
    return _decided(drafts, namespace, problems)


def trees(paths: Iterable[str | FilePath], *, stdin: BinaryIO | None = None) -> list[tuple[str, Node]]:
    """(file, document) as written, unchecked but for YAML itself. Raises InvalidInput."""
    problems: list[Problem] = []
    found: list[tuple[str, Node]] = []
    for file, content in contents(paths, stdin, problems):
        reader = Reader(file)
        found += [(file, node) for node in reader.documents(content)]
        problems += reader.problems
    if problems:
        raise InvalidInput(problems)
    return found


def _renewed(draft: _Draft) -> _Draft:
    """A Function of an older API version as one of this."""
    if older.is_older(draft.resource):
        converted = older.convert(draft.resource)
        if converted.resource is None:
            draft.faults += converted.lost
        else:
            said = Fault("E115", ("apiVersion",), f"read as {older.NEW}; `evoke convert` writes it so")
            draft.resource, draft.notes = converted.resource, (said, *converted.lost)
    return draft


def decode_all(sent: Sequence[Mapping[str, Any]], *, namespace: str = "default") -> tuple[Document, ...]:
    """Check ``{"resource": ..., "file", "line"}`` as they come over the API. Raises InvalidInput."""
    drafts = []
    for one in sent:
        file, line = str(one.get("file", "")), int(one.get("line", 0))
        folder = str(FilePath(file).parent) if file.startswith("/") else ""
        drafts.append(_Draft(one.get("resource"), file, line, None, folder))
    return _decided(drafts, namespace, [])


def loops_with(found: Sequence[Document], others: Sequence[Member]) -> tuple[Problem, ...]:
    """E124 for each of *found* that closes a loop together with what is there already."""
    members = [_member(document) for document in found]
    return tuple(
        Problem(
            code=fault.code,
            message=fault.message,
            path=text_of(("spec", *fault.path)),
            file=found[index].file,
            line=found[index].line,
        )
        for index, fault in loops([*members, *others])
        if index < len(found)
    )


def decode(resource: Mapping[str, Any], *, namespace: str = "default") -> Any:
    """The body of one resource as a Struct of api.kinds. Raises InvalidInput."""
    return decode_all([{"resource": dict(resource)}], namespace=namespace)[0].spec


def decode_spec(api_version: str, kind: str, spec: Mapping[str, Any]) -> Any:
    """A stored body (Document.body) as a Struct of api.kinds. Raises InvalidInput."""
    info = KINDS.get((api_version, kind))
    if info is None:
        raise InvalidInput([Problem(code="E115", message=f"{api_version} {kind} is no kind of this release")])
    try:
        return msgspec.convert(spec, info.spec)
    except msgspec.ValidationError as error:
        raise InvalidInput([Problem(code="E111", message=str(error), path="spec")]) from error


def body(resource: Mapping[str, Any], info: KindInfo) -> dict[str, Any]:
    """What stands under ``spec`` and beside it, in one."""
    inner = resource.get("spec") if info.has_spec else None
    beside = {name: resource[name] for name in info.beside if name in resource}
    return {**(inner if isinstance(inner, dict) else {}), **beside}


def _decided(drafts: list[_Draft], namespace: str, problems: list[Problem]) -> tuple[Document, ...]:
    for draft in drafts:
        _check(draft, namespace)
    _check_set(drafts)
    problems += [problem for draft in drafts for problem in draft.problems()]
    if problems:
        raise InvalidInput(sorted(problems, key=lambda problem: (problem.file, problem.line)))
    return tuple(draft.document for draft in drafts if draft.document is not None)


def _check(draft: _Draft, namespace: str) -> None:
    """Fill the draft's faults, and its document where it has none."""
    resource = draft.resource
    if draft.faults:
        return
    if not isinstance(resource, dict):
        draft.faults.append(Fault("E106", (), "a resource is a mapping with apiVersion, kind and metadata"))
        return
    if _depth(resource) > MAX_DEPTH:
        draft.faults.append(Fault("E107", (), f"nested deeper than {MAX_DEPTH} levels"))
        return
    info = _kind(resource, draft.faults)
    if info is None:
        return
    key, resource = metadata.identify(resource, info, namespace, draft.faults)
    spec = _body(resource, info, key.namespace, draft.faults)
    if info.kind == "Function" and draft.folder:
        annotations = resource["metadata"].setdefault("annotations", {})
        annotations.setdefault(FOLDER, draft.folder)
    if not draft.faults:
        notes = tuple(draft.problem(note) for note in draft.notes)
        draft.document = Document(
            resource=resource, file=draft.file, line=draft.line, info=info, key=key, spec=spec, notes=notes
        )


def _kind(resource: dict[str, Any], faults: list[Fault]) -> KindInfo | None:
    version, kind = resource.get("apiVersion"), resource.get("kind")
    info = KINDS.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None
    if info is not None:
        return info
    for name, value in (("apiVersion", version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            faults.append(Fault("E115", (name,) if name in resource else (), f"`{name}` is missing"))
    if faults:
        return None
    if older.is_older(resource):
        faults.append(Fault("E115", ("apiVersion",), f"`{str(version)[:80]}` is older than this: run `evoke convert`"))
        return None
    if str(version).startswith("dapr.io/") and str(kind) in REFUSED:
        faults.append(Fault("E115", ("kind",), f"{kind} is not supported: {REFUSED[str(kind)]}"))
        return None
    kinds = {known: api for api, known in KINDS}
    if str(kind) in kinds:
        faults.append(Fault("E115", ("apiVersion",), f"`{str(version)[:80]}` has no {kind}: use {kinds[str(kind)]}"))
    else:
        hint = similar(str(kind), list(kinds)) or f"; known are {', '.join(kinds)}"
        faults.append(Fault("E115", ("kind",), f"`{str(kind)[:80]}` is no kind{hint}"))
    return None


def _body(resource: dict[str, Any], info: KindInfo, namespace: str, faults: list[Fault]) -> Any:
    """The body as a Struct, or None after its faults were appended."""
    path: Path = ("spec",) if info.has_spec else ()
    if info.has_spec and "spec" not in resource:
        faults.append(Fault("E119", (), "`spec` is missing"))
        return None
    if info.has_spec and not isinstance(resource["spec"], dict):
        faults.append(Fault("E111", path, "expected an object; write `{}` for an empty one"))
        return None
    before = len(faults)
    try:
        kept = check(body(resource, info), shape(info.spec), path, faults)
    except Bad:
        return None
    spec = msgspec.convert(kept, info.spec)
    faults += consistency.check(info.kind, spec, namespace, complete=len(faults) == before, path=path)
    return spec


def _check_set(drafts: list[_Draft]) -> None:
    """Duplicates and loops over all documents."""
    first: dict[tuple[str, Key], _Draft] = {}
    members, owners = [], []
    for draft in drafts:
        document = draft.document
        if document is None:
            continue
        earlier = first.setdefault((document.info.kind, document.key), draft)
        if earlier is not draft:
            place = f"{earlier.file}:{earlier.line}" if earlier.file else "this set"
            message = f"{document.info.kind} {document.key} already stands in {place}"
            draft.faults.append(Fault("E117", ("metadata", "name"), message))
            continue
        members.append(_member(document))
        owners.append(draft)
    for index, fault in loops(members):
        owners[index].faults.append(Fault(fault.code, ("spec", *fault.path), fault.message))


def _member(document: Document) -> Member:
    meant = may_loop(document.resource["metadata"].get("annotations"))
    return Member(document.key.namespace, document.key.name, document.spec, meant)


def _depth(value: Any) -> int:
    """Levels of lists and mappings, counted without recursion."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        inner = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        level, depth = inner, depth + 1
    return depth
