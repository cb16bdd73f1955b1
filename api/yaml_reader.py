"""Bytes of a YAML file -> one Node per document, and every defect with its line.

Bounded: 1 MiB, 50,000 values, 64 levels, aliases that expand to 10,000 values. PyYAML's C parser yields events; the
tree, the meaning of scalars and all refusals are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from api.errors import Problem
from api.tree import Ambiguous, Node, scalar

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 50_000
MAX_EXPANSION = 10_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!"}


class _Stop(Exception):
    """The rest of the file cannot be read."""


class Reader:
    """Reads one file; *problems* grows while documents() is consumed."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._depth = self._values = self._expanded = 0

    def documents(self, content: bytes) -> Iterator[Node]:
        """The documents up to the first defect that makes the rest unreadable."""
        text = self._text(content)
        if text is None:
            return
        try:
            yield from self._documents(_events(text))
        except _Stop:
            return
        except yaml.MarkedYAMLError as error:
            self._syntax(error, text)
        except yaml.YAMLError as error:
            self._fail("E105", str(error).splitlines()[0], 0)

    def _documents(self, events: Iterator[Any]) -> Iterator[Node]:
        number = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                number += 1
                self._anchors = {}
                node = self._node(next(events), events)
                if node.value is None:
                    self._fail("E106", f"no resource in document {number}", _line(event))
                else:
                    yield node
        if number == 0:
            self._fail("E106", "no resource in the file", 1)

    def _text(self, content: bytes) -> str | None:
        if len(content) > MAX_BYTES:
            self._fail("E107", f"the file is larger than 1 MiB ({len(content)} bytes read)", 0)
            return None
        if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            self._fail("E105", "the file is UTF-16 (byte order mark at byte 0); save it as UTF-8", 1)
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self._fail("E105", f"not UTF-8 at byte {error.start}; save the file as UTF-8", line)
            return None
        return text

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop("E107", f"the file has more than {MAX_VALUES} values", line)
        if event.tag is not None and event.tag not in _TAGS:
            self._fail("E104", f"the tag `{event.tag[:80]}` is not allowed", line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # an alias to it is cyclic until it is complete
        if isinstance(event, yaml.ScalarEvent):
            node = Node(scalar(event.value) if event.implicit[0] else event.value, line)
        else:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                self._stop("E107", f"nested deeper than {MAX_DEPTH} levels", line)
            node = (
                self._mapping(events, line) if isinstance(event, yaml.MappingStartEvent) else self._list(events, line)
            )
            self._depth -= 1
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            self._fail("E100", f"no anchor `&{anchor}` before `*{anchor}`", line)
            return Node(None, line)
        node = self._anchors[anchor]
        if node is None:
            self._fail("E102", f"the alias `*{anchor}` stands inside its own anchor", line)
            return Node(None, line)
        self._expanded += node.size
        if self._expanded > MAX_EXPANSION:
            self._stop("E101", f"aliases expand to more than {MAX_EXPANSION} values", line)
        return node

    def _list(self, events: Iterator[Any], line: int) -> Node:
        items = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events))
        return Node(items, line, 1 + sum(item.size for item in items))

    def _mapping(self, events: Iterator[Any], line: int) -> Node:
        entries: dict[str, tuple[int, Node]] = {}
        merged: list[Node] = []
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            where = _line(event)
            key = self._key(event, events)
            node = self._node(next(events), events)
            if key is None:
                continue
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged += node.value if isinstance(node.value, list) else [node]
            elif key in entries:
                first = entries[key][0]
                self._fail("E103", f"`{key}` stands twice, on lines {first} and {where}", where)
            else:
                entries[key] = (where, node)
        for source in merged:
            self._merge(source, entries)
        return Node(entries, line, 1 + sum(node.size for _, node in entries.values()))

    def _merge(self, source: Node, entries: dict[str, tuple[int, Node]]) -> None:
        if not isinstance(source.value, dict):
            self._fail("E111", "`<<` takes a mapping or a list of mappings", source.line)
            return
        for key, entry in source.value.items():
            entries.setdefault(key, entry)

    def _key(self, event: Any, events: Iterator[Any]) -> str | None:
        line = _line(event)
        value = self._node(event, events).value
        if isinstance(value, str):
            return value
        shown = value.text if isinstance(value, Ambiguous) else event.value if hasattr(event, "value") else "this"
        self._fail("E111", f"a key is text: write `{shown[:40]}` in quotes", line)
        return None

    def _syntax(self, error: yaml.MarkedYAMLError, text: str) -> None:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        column = mark.column + 1 if mark else 0
        complaint = error.problem or error.context or "cannot be read"
        lines = text.splitlines()
        written = lines[line - 1] if 0 < line <= len(lines) else ""
        indent = written[: len(written) - len(written.lstrip())]
        if "\t" in indent or "'\\t'" in complaint:
            self._fail("E105", f"column {column}: a tab in the indentation; use spaces", line)
        else:
            self._fail("E100", f"column {column}: {complaint}", line)

    def _fail(self, code: str, message: str, line: int) -> None:
        self.problems.append(Problem(code=code, message=message, file=self.file, line=line))

    def _stop(self, code: str, message: str, line: int) -> None:
        self._fail(code, message, line)
        raise _Stop


def _line(event: Any) -> int:
    """1-based."""
    return int(event.start_mark.line) + 1


def _events(text: str) -> Iterator[Any]:
    return iter(yaml.parse(text, Loader=_LOADER))
