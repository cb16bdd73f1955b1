"""CloudEvents subscription filters and our conditions, compiled once to closures over structured JSON bytes.

One event is decoded once, and only the members that some dialect asks for; the rest is skipped by the JSON decoder.
Anything that cannot be compiled is refused here, at apply, with E125 (does not hold) or E126 (too long, too deep).

The dialects of the specification see attributes; ``expression`` is ours and sees ``data`` too.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from api.errors import EvokeError, InvalidInput, Problem
from api.model import Filter
from triggers import sql
from triggers.cursor import MAX_DEPTH
from triggers.evaluation import Truth
from triggers.expressions import MAX_LENGTH, compile_expression

Predicate: TypeAlias = Callable[[bytes], bool]
Test: TypeAlias = Callable[[Any], Truth]
"""Over the decoded record: True, False, or None where it cannot be told (then there is no match)."""


class Malformed(EvokeError):
    """The payload is no structured CloudEvent."""


def always(_payload: bytes) -> bool:
    """The predicate of a subscription without filter and condition; callers may compare with it to skip the call."""
    return True


class Fields:
    """Members that the tests of one predicate read, each at a fixed position of the decoded record."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def getter(self, member: str) -> Callable[[Any], Any]:
        """Reader of *member* from the record; absent members read as ``msgspec.UNSET``."""
        field = self._names.setdefault(member, f"f{len(self._names)}")
        return attrgetter(field)

    def decoder(self) -> msgspec.json.Decoder[Any]:
        """Decoder of a record with exactly these members."""
        fields = [(field, Any, msgspec.UNSET) for field in self._names.values()]
        rename = {field: member for member, field in self._names.items()}
        record = msgspec.defstruct("Record", fields, rename=rename, frozen=True, gc=False)
        return msgspec.json.Decoder(record)


def compile(  # noqa: A001 - read as filters.compile, like re.compile
    filter: Filter | None,  # noqa: A002 - the domain's word
    condition: str | None = None,
    untold: Callable[[], None] | None = None,
) -> Predicate:
    """Return the predicate of *filter* and *condition* together; raises InvalidInput where either does not compile.

    The predicate raises Malformed for a payload that is not a JSON object. It calls *untold* for an event of which it
    cannot be told whether it matches (an absent member, a cast that fails): such an event does not.
    """
    fields = Fields()
    tests: list[Test] = []
    if filter is not None:
        tests.append(_dialect(filter.dialect, _argument(filter), fields, 0))
    if condition is not None and condition.strip():
        tests.append(compile_expression(condition, fields.getter))
    if not tests:
        return always
    return _predicate(tests, fields.decoder(), untold or (lambda: None))


def _predicate(tests: list[Test], decoder: msgspec.json.Decoder[Any], untold: Callable[[], None]) -> Predicate:
    decode = decoder.decode
    first, *others = tests

    def matches(payload: bytes) -> bool:
        try:
            record = decode(payload)
            told = first(record)
            for test in others:
                if told is not True:
                    break
                told = test(record)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Malformed(f"not a structured CloudEvent: {error}") from error
        if told is None:
            untold()
        return told is True

    return matches


def _refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])


def _argument(filter: Filter) -> Any:  # noqa: A002 - the domain's word
    if len(filter.argument) > MAX_LENGTH:
        raise _refuse(f"the filter is longer than {MAX_LENGTH} characters", "E126")
    try:
        return msgspec.json.decode(filter.argument)
    except msgspec.DecodeError:
        if filter.dialect == "expression":
            return filter.argument
        raise _refuse(f"the argument of the filter `{filter.dialect}` is not JSON") from None


def _dialect(dialect: str, argument: Any, fields: Fields, depth: int) -> Test:
    if depth > MAX_DEPTH:
        raise _refuse(f"filters are nested deeper than {MAX_DEPTH}", "E126")
    match dialect:
        case "exact" | "prefix" | "suffix":
            return _attributes(dialect, argument, fields)
        case "all" | "any":
            if not isinstance(argument, list) or not argument:
                raise _refuse(f"`{dialect}` takes a list of filters, at least one")
            return _combine(dialect, [_nested(item, fields, depth) for item in argument])
        case "not":
            inner = _nested(argument, fields, depth)
            return lambda record: None if (truth := inner(record)) is None else not truth
        case "expression":
            if not isinstance(argument, str):
                raise _refuse("`expression` takes a string such as `data.battery < 20`")
            return compile_expression(argument, fields.getter)
        case "sql":
            if not isinstance(argument, str):
                raise _refuse("`sql` takes a string such as `type = 'reading' AND EXISTS subject`")
            return sql.matches(argument, fields.getter)
    raise _refuse(f"unknown filter dialect `{dialect}`: use exact, prefix, suffix, all, any, not, sql or expression")


def _nested(item: Any, fields: Fields, depth: int) -> Test:
    if not isinstance(item, dict) or len(item) != 1:
        raise _refuse('a nested filter is an object with one dialect, such as {"exact": {"type": "reading"}}')
    ((dialect, argument),) = item.items()
    return _dialect(dialect, argument, fields, depth + 1)


def _combine(dialect: str, tests: list[Test]) -> Test:
    if dialect == "all":
        return lambda record: all(test(record) is True for test in tests)
    return lambda record: any(test(record) is True for test in tests)


def _attributes(dialect: str, argument: Any, fields: Fields) -> Test:
    """Every named attribute must hold; an absent attribute does not."""
    if not isinstance(argument, dict) or not argument:
        raise _refuse(f'`{dialect}` takes attributes and values, such as {{"type": "reading"}}')
    tests = []
    for name, value in argument.items():
        if not (name.isascii() and name.isalnum() and name == name.lower()) or name == "data":
            raise _refuse(f"`{name}` is no CloudEvents attribute: lower-case letters and digits")
        if not isinstance(value, str) or not value:
            raise _refuse(f"`{dialect}` compares `{name}` with a string that is not empty")
        tests.append(_text_test(dialect, fields.getter(name), value))
    if len(tests) == 1:
        return tests[0]
    return lambda record: all(test(record) is True for test in tests)


def _text_test(dialect: str, get: Callable[[Any], Any], value: str) -> Test:
    if dialect == "exact":
        return lambda record: (found := get(record)) == value or canonical(found) == value
    if dialect == "prefix":
        return lambda record: canonical(get(record)).startswith(value)
    return lambda record: canonical(get(record)).endswith(value)


def canonical(value: Any) -> str:
    """String form of an attribute value, as CloudEvents' type system has it; empty where it is absent."""
    if isinstance(value, str):
        return value
    if value is msgspec.UNSET or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
