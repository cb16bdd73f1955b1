"""Checks a value against a wire type: every defect at once, each with its path.

msgspec converts at C speed and stops at the first defect, without a suggestion; this walk is what people see. It
answers the value with defective optional parts left out, so that the checks across fields still run.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import msgspec
from msgspec import inspect as mi

from api.rules import OWN_TYPE_CODE, RULES
from api.tree import Ambiguous, Path, text_of

MAX_FAULTS = 100


class Fault(msgspec.Struct, frozen=True):
    """A defect at a path of one resource."""

    code: str
    path: Path
    message: str


class Bad(Exception):
    """The value cannot stand; what holds it goes without it, or falls too."""


@functools.cache
def shape(type_: Any) -> mi.Type:
    """What msgspec knows of *type_*; one object per type."""
    return mi.type_info(type_)


def check(value: Any, type_: mi.Type, path: Path, faults: list[Fault], rule: str = "") -> Any:
    """Append the faults of *value*; answers what of it holds, or raises Bad."""
    if isinstance(type_, mi.Metadata):
        return check(value, type_.type, path, faults, (type_.extra or {}).get("rule", rule))
    if isinstance(value, Ambiguous):
        _fail(faults, "E111", path, f"`{value.text}` is {value.meanings}: write it in quotes or in full")
    if isinstance(type_, mi.AnyType):
        return _anything(value, path, faults)
    if isinstance(type_, mi.UnionType):
        return _union(value, type_, path, faults, rule)
    for kind, checker in _CHECKERS:
        if isinstance(type_, kind):
            found = checker(value, type_, path, faults, rule)
            _rule(found, rule, path, faults)
            return found
    raise TypeError(f"{text_of(path)}: no check for {type_}")


def _fail(faults: list[Fault], code: str, path: Path, message: str) -> NoReturn:
    faults.append(Fault(code, path, message))
    raise Bad


def _wrong(value: Any, expected: str, path: Path, faults: list[Fault], rule: str = "") -> NoReturn:
    if value is None:
        hint = (
            "nothing stands here: write `{}` or remove the line" if expected == "an object" else "nothing stands here"
        )
        _fail(faults, "E111", path, f"expected {expected}, {hint}")
    if rule == "duration":
        _fail(faults, "E114", path, f"expected a duration such as `30s`, got {named(value)}")
    quotes = (
        f'; write "{str(value).lower()}" in quotes'
        if expected == "text" and isinstance(value, bool | int | float)
        else ""
    )
    _fail(faults, OWN_TYPE_CODE.get(rule, "E111"), path, f"expected {expected}, got {named(value)}{quotes}")


def named(value: Any) -> str:
    """How a value is called in messages."""
    for type_, template in _NAMES:
        if isinstance(value, type_):
            return template.format(str(value).lower() if isinstance(value, bool) else str(value)[:40])
    return "an object"


_NAMES: tuple[tuple[type, str], ...] = (
    (type(None), "nothing"),
    (bool, "the boolean {}"),
    (int, "the integer {}"),
    (float, "the number {}"),
    (str, 'the text "{}"'),
    (list, "a list"),
)


def _rule(value: Any, rule: str, path: Path, faults: list[Fault]) -> None:
    if rule and (verdict := RULES[rule](value)):
        _fail(faults, verdict[0], path, verdict[1])


def _text(value: Any, type_: mi.StrType, path: Path, faults: list[Fault], rule: str) -> str:
    if not isinstance(value, str):
        _wrong(value, "text", path, faults, rule)
    if type_.pattern is not None and not re.search(type_.pattern, value):
        _fail(faults, "E113", path, f"`{value[:40]}` does not match `{type_.pattern}`")
    return str(value)


def _integer(value: Any, type_: mi.IntType, path: Path, faults: list[Fault], rule: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _wrong(value, "an integer", path, faults, rule)
    return int(_bounded(value, type_, path, faults))


def _number(value: Any, type_: mi.FloatType, path: Path, faults: list[Fault], rule: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(value, "a number", path, faults, rule)
    return float(_bounded(value, type_, path, faults))


def _bounded(value: Any, type_: mi.IntType | mi.FloatType, path: Path, faults: list[Fault]) -> Any:
    low, high = type_.ge, type_.le
    if (low is not None and value < low) or (high is not None and value > high):
        _fail(faults, "E113", path, f"{value} is outside {low} to {high}")
    return value


def _boolean(value: Any, _type: mi.BoolType, path: Path, faults: list[Fault], rule: str) -> bool:
    if not isinstance(value, bool):
        _wrong(value, "true or false", path, faults, rule)
    return bool(value)


def _literal(value: Any, type_: mi.LiteralType, path: Path, faults: list[Fault], _: str) -> Any:
    if any(value is choice or (type(value) is type(choice) and value == choice) for choice in type_.values):
        return value
    choices = ", ".join(
        str(choice).lower() if isinstance(choice, bool) else str(choice) or '""' for choice in type_.values
    )
    suggestion = similar(value, [str(choice) for choice in type_.values]) if isinstance(value, str) else ""
    _fail(faults, "E111", path, f"expected one of {choices}, got {named(value)}{suggestion}")


def _list(value: Any, type_: mi.VarTupleType, path: Path, faults: list[Fault], rule: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        _wrong(value, "a list", path, faults, rule)
    if type_.max_length is not None and len(value) > type_.max_length:
        _fail(faults, "E113", path, f"{len(value)} items, at most {type_.max_length}")
    kept = []
    for index, item in enumerate(value):
        if len(faults) > MAX_FAULTS:
            break
        try:
            kept.append(check(item, type_.item_type, (*path, index), faults))
        except Bad:
            continue
    return kept


def _map(value: Any, type_: mi.DictType, path: Path, faults: list[Fault], rule: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(value, "an object", path, faults, rule)
    kept = {}
    for key, item in value.items():
        if len(faults) > MAX_FAULTS:
            break
        try:
            check(key, type_.key_type, (*path, key), faults)
            kept[key] = check(item, type_.value_type, (*path, key), faults)
        except Bad:
            continue
    return kept


def _struct(value: Any, type_: mi.StructType, path: Path, faults: list[Fault], rule: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(value, "an object", path, faults, rule)
    fields = {field.encode_name: field for field in type_.fields}
    faults.extend(unknown(value, fields, getattr(type_.cls, "refused", {}), path, _deeper(type_.cls)))
    kept, broken = {}, False
    for name, field in fields.items():
        if name not in value:
            if field.required:
                faults.append(Fault("E119", path, f"`{name}` is missing"))
                broken = True
            continue
        try:
            kept[name] = check(value[name], _given(field.type), (*path, name), faults)
        except Bad:
            broken = broken or field.required
    if broken:
        raise Bad
    return kept


@functools.cache
def _deeper(cls: type[msgspec.Struct]) -> Mapping[str, str]:
    """Field that stands up to three levels below *cls* -> its path from there, the nearest first."""
    found: dict[str, str] = {}
    level = [("", cls)]
    for depth in range(4):
        below = []
        for prefix, struct in level:
            for field in _fields(struct):
                if depth > 0:
                    found.setdefault(field.encode_name, prefix + field.encode_name)
                inner = _given(field.type)
                if isinstance(inner, mi.StructType):
                    below.append((f"{prefix}{field.encode_name}.", inner.cls))
        level = below
    return found


def _fields(cls: type[msgspec.Struct]) -> tuple[mi.Field, ...]:
    known = shape(cls)
    return known.fields if isinstance(known, mi.StructType) else ()


def unknown(
    value: Mapping[str, Any],
    known: Mapping[str, Any],
    refused: Mapping[str, str],
    path: Path,
    deeper: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Fault]:
    """A fault for each field of *value* that is not *known*, at most MAX_FAULTS of them."""
    for name in [name for name in value if name not in known][:MAX_FAULTS]:
        if name not in refused:
            meant = similar(name, list(known)) or (f", did you mean `{deeper[name]}`?" if name in deeper else "")
            yield Fault("E110", (*path, name), f"unknown field `{name[:80]}`{meant}")
        elif name == "namespace":
            yield Fault("E120", (*path, name), refused[name])
        else:
            yield Fault("E121", (*path, name), f"`{name}` is not allowed: {refused[name]}")


def similar(name: str, known: list[str]) -> str:
    """``, did you mean ...`` or nothing."""
    if len(name) > 80:
        return ""
    close = [word for word in known if word.lower() == name.lower()] or difflib.get_close_matches(name, known, n=1)
    return f", did you mean `{close[0]}`?" if close else ""


def _given(type_: mi.Type) -> mi.Type:
    """The type of a field that is set: an optional field is left out, never null."""
    if isinstance(type_, mi.UnionType):
        rest = tuple(option for option in type_.types if not isinstance(option, mi.NoneType))
        return rest[0] if len(rest) == 1 else mi.UnionType(rest)
    return type_


def _union(value: Any, type_: mi.UnionType, path: Path, faults: list[Fault], rule: str) -> Any:
    if value is None and any(isinstance(option, mi.NoneType) for option in type_.types):
        return None
    options = [option for option in type_.types if not isinstance(option, mi.NoneType)]
    if len(options) == 1:
        return check(value, options[0], path, faults, rule)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        _rule(value, rule, path, faults)
        return value
    _wrong(value, "an integer or text", path, faults, rule)


def _anything(value: Any, path: Path, faults: list[Fault]) -> Any:
    """Free-form content: only ambiguous scalars are refused."""
    if isinstance(value, Ambiguous):
        _fail(faults, "E111", path, f"`{value.text}` is {value.meanings}: write it in quotes or in full")
    if isinstance(value, dict):
        return {key: _anything(item, (*path, key), faults) for key, item in value.items()}
    if isinstance(value, list):
        return [_anything(item, (*path, index), faults) for index, item in enumerate(value)]
    return value


_CHECKERS: tuple[tuple[type[mi.Type], Any], ...] = (
    (mi.StructType, _struct),
    (mi.StrType, _text),
    (mi.IntType, _integer),
    (mi.BoolType, _boolean),
    (mi.FloatType, _number),
    (mi.LiteralType, _literal),
    (mi.VarTupleType, _list),
    (mi.DictType, _map),
)
