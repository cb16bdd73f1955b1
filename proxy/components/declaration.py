"""How a component type says what metadata it takes, and how metadata as written is read by that.

A type declares a frozen struct: one field per name, with its type, default and docstring. From it come the reading, the
messages for people and the reference page. Names are compared without regard to case, as Dapr does. A name that the
type does not declare changes nothing, as under Dapr, whose files come here as they are; but it is said.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeAlias

import msgspec
from msgspec import inspect as mi

from api import durations
from api.errors import InvalidInput, Problem
from api.meta import Key
from api.model import Bus, Component, Option, Source

NONE: Mapping[str, str] = MappingProxyType({})
SHOWN = 8
"""Names of a type that one message lists."""
_TRUE = frozenset({"y", "yes", "true", "t", "on", "1"})
_FALSE = frozenset({"n", "no", "false", "f", "off", "0"})


class BadComponent(InvalidInput):
    """The metadata of a component does not hold; carries every problem."""


def about(
    *, secret: bool = False, aliases: tuple[str, ...] = (), unit: str = "s", verbatim: bool = False
) -> msgspec.Meta:
    """What else there is to say of a field: ``Annotated[str, about(secret=True)]``.

    *unit* is that of a duration written as a bare number: ``s`` or ``ms``. *verbatim*: the blanks around it count.
    """
    return msgspec.Meta(extra={"secret": secret, "aliases": aliases, "unit": unit, "verbatim": verbatim})


class ComponentMetadata(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """Base of all metadata. Values are text, bool, int, float, timedelta, Literal, tuples of text; None is absent."""

    NOTED: ClassVar[Mapping[str, str]] = NONE
    """Name that Dapr's component takes -> why nothing here needs it."""
    REFUSED: ClassVar[Mapping[str, str]] = NONE
    """Name that Dapr's component takes -> why it cannot be honoured, and what to do instead."""

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Self:
        """Metadata as written; raises BadComponent with everything that is wrong."""
        values: dict[str, Any] = {}
        problems = [*_read(cls, options, values)]
        if problems:
            raise BadComponent(problems)
        made = cls(**values)
        problems = [_problem("E113", name, message) for name, message in made.contradictions()]
        if problems:
            raise BadComponent(problems)
        return made

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """(name, message) of what each field allows and all of them together do not."""
        yield from ()


MetadataType: TypeAlias = type[ComponentMetadata]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One component type: what it is, and how it comes to life; every function is None where it does not apply."""

    type: str
    metadata: MetadataType
    versions: tuple[str, ...] = ("v1",)
    open: Callable[[Component, Any, Any], Any] | None = None
    """(component, metadata, surroundings.Surroundings) -> a protocols.Instance, not connected yet. The component has
    its secrets as text, so it is not to be kept where it may be shown."""
    bus: Callable[[Component], Bus] | None = None
    """Of a pub/sub type: the event bus that it is. Pure."""
    source: Callable[[Component, Key, str], Source] | None = None
    """Of an input binding: (component, function, subject) -> what brings its events there. Pure."""
    operations: tuple[str, ...] = ()
    """Of an output binding."""
    features: tuple[str, ...] = ()
    """Capabilities as Dapr's metadata API names them."""
    summary: str = ""
    """What it is, for the reference; empty: what the docstring of its metadata begins with."""

    @property
    def kind(self) -> str:
        """``state``, ``pubsub``, ``bindings``, ``secretstores`` or ``configuration``."""
        return self.type.partition(".")[0]


def check(cls: type[ComponentMetadata], options: Mapping[str, Option]) -> list[Problem]:
    """Everything wrong with metadata whose secrets are not known; what fields say together is looked at without any."""
    values: dict[str, Any] = {}
    problems = [*_read(cls, options, values)]
    if problems or not all(isinstance(option, str) for option in options.values()):
        return problems
    return [_problem("E113", name, message) for name, message in cls(**values).contradictions()]


def noted(cls: type[ComponentMetadata], options: Mapping[str, Option]) -> list[tuple[str, str]]:
    """(name, reason) of what is set and changes nothing here."""
    reasons = {name.lower(): reason for name, reason in cls.NOTED.items()}
    declared = {*_names(cls), *(name.lower() for name in cls.REFUSED)}
    found = [(name, reasons[name.lower()]) for name in options if name.lower() in reasons]
    strange = [name for name in options if name.lower() not in {*declared, *reasons}]
    return [*found, *((name, _unknown(cls, name)) for name in strange)]


@dataclass(frozen=True)
class Row:
    """One field of a type's metadata."""

    name: str
    attribute: str
    type: mi.Type
    required: bool
    default: Any
    secret: bool = False
    aliases: tuple[str, ...] = ()
    unit: str = "s"
    verbatim: bool = False


@functools.cache
def rows(cls: type[ComponentMetadata]) -> tuple[Row, ...]:
    """The fields of *cls* in their order."""
    known = mi.type_info(cls)
    assert isinstance(known, mi.StructType)
    found = []
    for one in known.fields:
        inner, extra = _unwrapped(one.type)
        default = None if one.required or one.default is msgspec.NODEFAULT else one.default
        found.append(Row(one.encode_name, one.name, inner, one.required, default, **extra))
    return tuple(found)


def _unwrapped(type_: mi.Type) -> tuple[mi.Type, dict[str, Any]]:
    if isinstance(type_, mi.Metadata):
        inner, extra = _unwrapped(type_.type)
        return inner, {**extra, **(type_.extra or {})}
    if isinstance(type_, mi.UnionType):
        (given,) = (option for option in type_.types if not isinstance(option, mi.NoneType))
        return _unwrapped(given)
    return type_, {}


@functools.cache
def _names(cls: type[ComponentMetadata]) -> Mapping[str, Row]:
    return {name.lower(): row for row in rows(cls) for name in (row.name, *row.aliases)}


def _read(cls: type[ComponentMetadata], options: Mapping[str, Option], values: dict[str, Any]) -> Iterator[Problem]:
    """Fill *values* by attribute; yields what is wrong. A reference to a secret counts as there."""
    names, given = _names(cls), set()
    for name, option in options.items():
        row = names.get(name.lower())
        if row is None:
            yield from _refused(cls, name, option)
        elif row.attribute in given:
            yield _problem("E117", name, f"`{row.name}` stands twice")
        else:
            given.add(row.attribute)
            try:
                if isinstance(option, str) and (option or row.required):
                    values[row.attribute] = _value(row, option if row.verbatim else option.strip())
            except ValueError as error:
                yield _problem(_code(row, error), name, str(error))
    for row in rows(cls):
        if row.required and row.attribute not in given:
            meant = difflib.get_close_matches(row.name.lower(), [one.lower() for one in options], n=1)
            typo = next((one for one in options if one.lower() in meant and one.lower() not in names), "")
            yield _problem("E119", row.name, "it is missing" + (f"; is `{typo[:80]}` meant?" if typo else ""))


class _Outside(ValueError):
    """A number is outside of its bounds."""


def _code(row: Row, error: ValueError) -> str:
    if isinstance(error, _Outside):
        return "E113"
    return "E114" if isinstance(row.type, mi.TimeDeltaType) else "E111"


def _refused(cls: type[ComponentMetadata], name: str, option: Option) -> Iterator[Problem]:
    refused = {known.lower(): reason for known, reason in cls.REFUSED.items()}
    asks = not isinstance(option, str) or option.strip().lower() not in {"", *_FALSE}
    if name.lower() in refused and asks:
        yield _problem("E199", name, f"it is not supported: {refused[name.lower()]}")


def _unknown(cls: type[ComponentMetadata], name: str) -> str:
    """What is said of a name that nothing declares."""
    names = [row.name for row in rows(cls)]
    known = {word.lower(): word for word in (*names, *cls.NOTED)}
    close = difflib.get_close_matches(name.lower()[:80], known, n=1)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    takes = f"; it takes {', '.join(names[:SHOWN])}{more}" if names else "; it takes none"
    return "unknown metadata" + (f", did you mean `{known[close[0]]}`?" if close else takes)


def _problem(code: str, name: str, message: str) -> Problem:
    return Problem(code=code, path=f"spec.metadata[{name[:80]}]", message=message)


def _value(row: Row, text: str) -> Any:
    """*text* as what *row* says; raises ValueError with what was expected. Never repeats a secret."""
    shown = "the value" if row.secret else f"`{text[:40]}`"
    match row.type:
        case mi.BoolType():
            return _boolean(text, shown)
        case mi.IntType(ge=low, le=high) | mi.FloatType(ge=low, le=high) as type_:
            return _number(text, shown, (low, high), whole=isinstance(type_, mi.IntType))
        case mi.TimeDeltaType():
            return _duration(text, row.unit)
        case mi.VarTupleType():
            return tuple(part.strip() for part in text.split(",") if part.strip())
        case mi.LiteralType(values=choices):
            return _choice(text, shown, [str(choice) for choice in choices])
    if row.required and not text:
        raise ValueError("it is empty")
    return text


def _boolean(text: str, shown: str) -> bool:
    if (word := text.lower()) in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(f"expected true or false, got {shown}")


def _number(text: str, shown: str, bounds: tuple[Any, Any], *, whole: bool) -> float:
    low, high = bounds
    wanted = "a whole number" if whole else "a number"
    try:
        if len(text) > 32 or "_" in text:
            raise ValueError
        value = int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"expected {wanted}, got {shown}") from None
    if (low is not None and value < low) or (high is not None and value > high) or math.isnan(value):
        span = f"{low} to {high}" if high is not None and low is not None else f"at least {low}"
        raise _Outside(f"{value} is outside its bounds: {span}")
    return value


def _duration(text: str, unit: str) -> timedelta:
    """A Go duration; a bare number counts in *unit*."""
    if text.isascii() and text.isdigit():
        return durations.parse(f"{text[:10]}{unit}")
    return durations.parse(text)


def _choice(text: str, shown: str, choices: list[str]) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    close = difflib.get_close_matches(text.lower(), choices, n=1)
    meant = f", did you mean `{close[0]}`?" if close else ""
    raise ValueError(f"expected one of {', '.join(choices)}, got {shown}{meant}")


def written(default: Any) -> str:
    """A default as one writes it in YAML; empty: there is none."""
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, timedelta):
        return durations.render(default)
    return ",".join(default) if isinstance(default, tuple) else str(default)
