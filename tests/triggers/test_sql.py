"""CloudEvents SQL: the specification's vectors, and what is refused when it is applied."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import InvalidInput
from api.model import Filter
from tests.triggers.sql_vectors import VECTORS, Error
from triggers import filters, sql, sql_values
from triggers.sql_values import Fault

REQUIRED = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
AT_APPLY = {"parse", "missingFunction"}
"""Errors that the expression itself has, whatever the event."""
DIFFERENT = {"NOT 10": False}
"""Section 3.7 casts every integer to a boolean; the kit's case is older than that."""


def evaluate(text: str, event: dict[str, Any]) -> Any:
    whole = {**REQUIRED, **event}
    return sql.compile_sql(text, lambda name: lambda record: record.get(name))(whole)


def matches(text: str, **event: Any) -> bool:
    payload = msgspec.json.encode({**REQUIRED, **event})
    return filters.compile(Filter(dialect="sql", argument=msgspec.json.encode(text).decode()))(payload)


@pytest.mark.parametrize(("text", "event", "want"), VECTORS)
def test_vector(text: str, event: dict[str, Any], want: object) -> None:
    if text in DIFFERENT:
        assert evaluate(text, event) is DIFFERENT[text]
    elif not isinstance(want, Error):
        found = evaluate(text, event)
        assert (type(found), found) == (type(want), want)
    elif want.kind in AT_APPLY:
        with pytest.raises(InvalidInput, match="E125"):
            evaluate(text, event)
    else:
        with pytest.raises(Fault) as raised:
            evaluate(text, event)
        assert raised.value.kind == want.kind


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("type = 't' AND sequence > 5", True),
        ("sequence", False),
        ("absent = 'x'", False),
        ("NOT (absent = 'x')", False),
        ("EXISTS absent OR sequence = 7", True),
        ("source LIKE '%' AND big = '3000000000'", True),
        ("flag", True),
        ("flag = 'true' AND 'true' = flag", True),
        ("2147483647 + 1 > 0", False),
        ("-2147483648 < 0", True),
        ("4-1=3", True),
        ("TRUE OR FALSE AND FALSE", False),
        ("TRUE OR (FALSE AND FALSE)", True),
        ("5 IN (5, 'x')", False),
        ("-7 / 2 = -3 AND -7 % 2 = -1", True),
        ("substring(type, 1) = upper('t')", False),
    ],
)
def test_filters(text: str, want: bool) -> None:
    assert matches(text, sequence=7, flag=True, big=3000000000) is want


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("type =", "E125", "expected a value instead of the end at character 7"),
        ("type = 't' id", "E125", "expected an operator or the end instead of `id` at character 12"),
        ("(type = 't'", "E125", "expected `)`"),
        ("type ~ 't'", "E125", "unexpected `~` at character 6"),
        ("type = 't", "E125", "unexpected `'` at character 8"),
        ("type LIKE id", "E125", "expected a string instead of `id` at character 11"),
        ("type IN ()", "E125", "expected a value instead of `)`"),
        ("EXISTS 'a'", "E125", "expected an attribute"),
        ("my_ext = 1", "E125", "expected an attribute"),
        ("AND", "E125", "expected an attribute"),
        ("data = 1", "E125", "use `expression`"),
        ("2147483648 = 1", "E125", "32 bits"),
        ("NOPE(1)", "E125", "no function `NOPE`"),
        ("LEFT('a')", "E125", "no function `LEFT` (character 1) with 1 arguments"),
        ("", "E125", "at character 1"),
        ("'" + "a" * 5000 + "'", "E126", "longer"),
        ("(" * 100 + "TRUE" + ")" * 100, "E126", "deeper"),
        ("NOT " * 100 + "TRUE", "E126", "deeper"),
        ("1" + "+1" * 1000, "E126", "operators"),
        ("LOWER(" * 100 + "'a'" + ")" * 100, "E126", "deeper"),
        ("type" + " LIKE 'a'" * 401, "E126", "operators"),
    ],
)
def test_refused(text: str, code: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        matches(text)

    assert raised.value.problems[0].code == code
    assert says in raised.value.problems[0].message


def test_many_wildcards_take_no_time() -> None:
    """A backtracking engine would not come back."""
    assert sql_values.like("%a" * 200 + "%b")("a" * 20_000) is False


SIGNS = st.text("ab%_\\.", max_size=6)


@settings(deadline=None)
@given(SIGNS, st.text("ab%_\\.\n", max_size=8))
def test_like_means_what_is_said(pattern: str, text: str) -> None:
    assert sql_values.like(pattern)(text) is naive(pattern, text)


def naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "\\" and pattern[1:2] in {"%", "_"}:
        return text[:1] == pattern[1] and naive(pattern[2:], text[1:])
    if pattern[0] == "%":
        return any(naive(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in {"_", text[0]} and naive(pattern[1:], text[1:])


@settings(deadline=None)
@given(st.text("ab1 ()'\"<>=%_+-*/,NOTINLIKEANDORXEXISTS\\", max_size=40))
def test_whatever_is_written_compiles_or_is_refused(text: str) -> None:
    try:
        found = matches(text)
    except InvalidInput:
        return
    assert found in {True, False}
