"""The reference page of the component types in Markdown, from what they declare."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import inspect as mi

from api.schema import described
from proxy.components.declaration import Declared, Row, rows, written
from proxy.components.registry import LATER, TYPES

NOTICE = "<!-- Made by `scripts/generate.py` from `proxy/components/`; edit there. -->\n"
INTRODUCTION = """\
What `spec.type` of a [Component](component.md) may be, and the metadata of each type. Names are compared without regard
to case; required ones are bold, and any value may come from a `secretKeyRef`. A name that a type does not have is an
error. Durations are written as `30s`; where a bare number means something else than seconds, its unit is given.
"""
HEADINGS = {
    "pubsub": "Pub/sub",
    "bindings": "Bindings",
    "state": "State stores",
    "secretstores": "Secret stores",
    "configuration": "Configuration stores",
}
"""Kind -> heading, in the order of the page."""


def page() -> str:
    lines = [
        NOTICE,
        "# Component types\n",
        INTRODUCTION,
        "| type | what it is | can |",
        "|---|---|---|",
        *(f"| [`{one.type}`](#{_anchor(one.type)}) | {_cell(_what(one))} | {_can(one)} |" for one in _ordered()),
    ]
    for kind, heading in HEADINGS.items():
        lines.append(f"\n## {heading}")
        for one in _ordered():
            if one.kind == kind:
                lines += _section(one)
    lines += [f"\n`{name}` is not there: {instead}." for name, instead in sorted(LATER.items())]
    return "\n".join([*lines, ""])


def _ordered() -> list[Declared]:
    return sorted(TYPES.values(), key=lambda one: (list(HEADINGS).index(one.kind), one.type))


def _anchor(type_: str) -> str:
    return type_.replace(".", "").lower()


def _what(one: Declared) -> str:
    return one.summary or described(one.metadata).text.partition(";")[0].rstrip(".")


def _can(one: Declared) -> str:
    """Features as Dapr's metadata API names them, or operations."""
    if one.kind != "bindings":
        return ", ".join(f"`{feature}`" for feature in one.features)
    operations = ", ".join(f"`{name}`" for name in one.operations)
    return "; ".join(
        part for part in ("input" if one.source else "", f"output: {operations}" if operations else "") if part
    )


def _section(one: Declared) -> list[str]:
    lines = [f"\n### {one.type}\n", _cell(described(one.metadata).text) + "\n"]
    fields = rows(one.metadata)
    if fields:
        docs = described(one.metadata).fields
        lines += ["| name | type | default | meaning |", "|---|---|---|---|"]
        lines += [_row(row, docs.get(row.attribute, "")) for row in fields]
    else:
        lines.append("It takes no metadata.")
    lines += _reasons("Read, and not needed here", one.metadata.NOTED.items())
    lines += _reasons("Refused", one.metadata.REFUSED.items())
    return lines


def _row(row: Row, doc: str) -> str:
    name = f"**`{row.name}`**" if row.required else f"`{row.name}`"
    others = f" (also {', '.join(f'`{alias}`' for alias in row.aliases)})" if row.aliases else ""
    default = written(row.default).replace("|", "\\|")
    shown = f"`{default}`" if default else ""
    return f"| {name}{others} | {_named(row)} | {shown} | {_cell(doc)} |"


def _named(row: Row) -> str:
    match row.type:
        case mi.IntType(ge=low, le=high) | mi.FloatType(ge=low, le=high):
            kind = "integer" if isinstance(row.type, mi.IntType) else "number"
            return kind + ("" if low is None else f" from {low}" if high is None else f" {low} to {high}")
        case mi.TimeDeltaType():
            return "duration" + (" (bare: ms)" if row.unit == "ms" else "")
        case mi.LiteralType(values=choices):
            return " or ".join(f"`{choice}`" for choice in choices if choice)
    plain = {mi.BoolType: "true or false", mi.VarTupleType: "list, by commas"}
    return plain.get(type(row.type), "text, secret" if row.secret else "text")


def _reasons(title: str, reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Names under their common reason."""
    named: dict[str, list[str]] = {}
    for name, reason in reasons:
        named.setdefault(reason, []).append(f"`{name}`")
    if not named:
        return []
    told = [f"{', '.join(names)} ({_cell(reason)})" for reason, names in named.items()]
    return [f"\n{title}: {'; '.join(told)}."]


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
