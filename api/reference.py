"""Reference pages in Markdown from the kinds, the support table, the conditions and the error codes."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import inspect as mi

from api.codes import CODES
from api.conditions import INFORMATIVE, ORDER, REASONS
from api.kinds import KINDS, NAMES, KindInfo
from api.schema import described
from api.structure import shape
from api.support import SUPPORT, support
from api.verdicts import LATER, Support

NOTICE = "<!-- Made by `scripts/generate.py` from `api/`; edit there. -->\n"
_WHERE = {
    "both": "yes",
    "kubernetes": "Kubernetes only",
    "local": "one machine only",
    "later": "not yet",
    "refused": "no",
}


def pages() -> dict[str, str]:
    """File name -> content, one page per kind and one per table."""
    found = {_file(info): kind_page(info) for info in KINDS.values()}
    found["conditions.md"] = conditions_page()
    found["errors.md"] = errors_page()
    found["support.md"] = support_page()
    found["README.md"] = index_page(sorted(found))
    return found


def index_page(names: list[str]) -> str:
    kinds = [f"- [{_title(info)}]({_file(info)})" for info in KINDS.values()]
    tables = [
        f"- [{name.removesuffix('.md')}]({name})"
        for name in names
        if name in {"conditions.md", "errors.md", "support.md"}
    ]
    return "\n".join([NOTICE, "# Reference\n", "Resources:\n", *kinds, "\nTables:\n", *tables, ""])


def _older(info: KindInfo) -> bool:
    """Whether another version of the kind goes by its name alone."""
    return NAMES[info.singular] != info


def _title(info: KindInfo) -> str:
    return f"{info.kind} {info.version}" if _older(info) else info.kind


def _file(info: KindInfo) -> str:
    return f"{info.singular}-{info.version}.md" if _older(info) else f"{info.singular}.md"


def kind_page(info: KindInfo) -> str:
    """Every field with its type, whether it is honoured, and its meaning."""
    where = "`spec`" if info.has_spec else "the top level"
    names = ", ".join(f"`{name}`" for name in (info.plural, *info.short))
    lines = [
        NOTICE,
        f"# {_title(info)}\n",
        _cell(described(info.spec).text) + "\n",
        f"`apiVersion: {info.api_version}`; also called {names}."
        + ("" if info.namespaced else " It belongs to no namespace."),
    ]
    if info.later:
        lines.append(f"\nRead and kept, not acted on yet: {info.later}.")
    lines += [
        f"\nFields of {where}, required ones in bold:\n",
        "| field | type | honoured | meaning |",
        "|---|---|---|---|",
    ]
    hidden: tuple[str, ...] = ()
    for field in fields(shape(info.spec)):
        if field.path.startswith(hidden):
            continue
        lines.append(_row(info.kind, field))
        if folded(info.kind, field.path):
            hidden = (*hidden, f"{field.path}.", f"{field.path}[")
    lines += _reasons(info.kind)
    return "\n".join([*lines, ""])


class Field:
    """One row: its path with ``*`` and ``[]``, type, docstring."""

    __slots__ = ("doc", "leaf", "path", "required", "type_")

    def __init__(self, path: str, type_: str, doc: str, *, required: bool, leaf: bool) -> None:
        self.path, self.type_, self.doc, self.required, self.leaf = path, type_, doc, required, leaf


def fields(type_: mi.Type, path: str = "", outer: tuple[type, ...] = ()) -> Iterator[Field]:
    """Every field below *type_*; a type inside itself is not followed."""
    if not isinstance(type_, mi.StructType) or type_.cls in outer:
        return
    docs = described(type_.cls).fields
    for field in type_.fields:
        here = f"{path}.{field.encode_name}".lstrip(".")
        named, inner, suffix = _unwrapped(field.type)
        struct = isinstance(inner, mi.StructType) and inner.cls not in (*outer, type_.cls)
        yield Field(here, named, docs.get(field.name, ""), required=field.required, leaf=not struct)
        yield from fields(inner, here + suffix, (*outer, type_.cls))


def _unwrapped(type_: mi.Type) -> tuple[str, mi.Type, str]:
    """(name for people, type of what is inside, what follows the path to it)."""
    match type_:
        case mi.Metadata():
            rule = (type_.extra or {}).get("rule", "")
            named, inner, suffix = _unwrapped(type_.type)
            return (_RULES.get(rule, named), inner, suffix)
        case mi.UnionType():
            options = [option for option in type_.types if not isinstance(option, mi.NoneType)]
            return _unwrapped(options[0]) if len(options) == 1 else ("text or integer", type_, "")
        case mi.VarTupleType():
            named, inner, suffix = _unwrapped(type_.item_type)
            return f"list of {named}", inner, f"[]{suffix}"
        case mi.DictType():
            named, inner, suffix = _unwrapped(type_.value_type)
            return f"map to {named}", inner, f".*{suffix}"
    return _named(type_), type_, ""


_RULES = {"duration": "duration", "quantity": "amount", "name": "name", "schedule": "schedule"}


def _named(type_: mi.Type) -> str:
    match type_:
        case mi.StrType():
            return "text"
        case mi.IntType(ge=low, le=high):
            return f"integer {low} to {high}" if low is not None else "integer"
        case mi.FloatType(ge=low, le=high):
            return f"number {low:g} to {high:g}" if low is not None and high is not None else "number"
        case mi.LiteralType(values=values):
            return " or ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values)
    return {mi.BoolType: "true or false", mi.AnyType: "anything"}.get(type(type_), "object")


def _row(kind: str, field: Field) -> str:
    verdict = support(kind, field.path) or LATER
    name = f"**`{field.path}`**" if field.required else f"`{field.path}`"
    shown = _WHERE[verdict.where] if field.leaf or folded(kind, field.path) else ""
    return f"| {name} | {field.type_} | {shown} | {_cell(field.doc)} |"


def folded(kind: str, path: str) -> bool:
    """Whether nothing below *path* is honoured, so that one row says it all."""
    rows = SUPPORT[kind]
    if any(row.startswith((f"{path}.", f"{path}[")) for row in rows):
        return False
    verdict = support(kind, path)
    return verdict is not None and verdict.where in {"later", "refused"} and rows.get("") is not verdict


def _reasons(kind: str) -> list[str]:
    """What is not honoured everywhere, and why."""
    found = [(path, verdict) for path, verdict in SUPPORT[kind].items() if path and verdict.where != "both"]
    if not found:
        return []
    table = [f"| `{path}` | {_cell(_verdict(verdict))} |" for path, verdict in found]
    return ["\nNot honoured everywhere:\n", "| field and all below it | honoured |", "|---|---|", *table]


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _verdict(verdict: Support) -> str:
    return _WHERE[verdict.where] + (f": {verdict.why}" if verdict.why else "")


def support_page() -> str:
    lines = [
        NOTICE,
        "# What is honoured where\n",
        "A path covers everything below it; the longest one decides.\n",
        "What is not honoured is named in condition `Accepted`.\n",
        "| kind | field | honoured |",
        "|---|---|---|",
    ]
    for kind, rows in SUPPORT.items():
        lines += [
            f"| {kind} | {f'`{path}`' if path else 'all'} | {_cell(_verdict(verdict))} |"
            for path, verdict in rows.items()
        ]
    return "\n".join([*lines, ""])


def conditions_page() -> str:
    lines = [
        NOTICE,
        "# Status conditions\n",
        f"`Ready` is the first of {', '.join(f'`{name}`' for name in ORDER)} that is not True, its reason copied; "
        "a function without replicas is Ready. Some reasons leave it True: "
        + "; ".join(
            f"{', '.join(f'`{reason}`' for reason in sorted(found))} of `{name}`" for name, found in INFORMATIVE.items()
        )
        + ".\n",
        "| type | reason | means |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {reason} | {text} |" for name, reasons in REASONS.items() for reason, text in reasons.items()
    ]
    return "\n".join([*lines, ""])


def errors_page() -> str:
    lines = [NOTICE, "# Error codes\n", "| code | means |", "|---|---|"]
    lines += [f"| {code} | {text} |" for code, text in sorted(CODES.items())]
    return "\n".join([*lines, ""])
