"""What users of CEL expect of a condition, with CEL's meaning."""

from __future__ import annotations

import json
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import InvalidInput
from triggers import filters, macros

DATA = {
    "n": 7,
    "f": 2.5,
    "zero": 0,
    "big": 9223372036854775807,
    "name": "v-07",
    "tags": ["low", "city", "low"],
    "points": [{"x": 1}, {"x": 2}, {"x": 3}],
    "map": {"a": 1, "b": 2},
    "flags": [True, False],
    "i": 1,
    "key": "a",
    "none": None,
    "text": "a\tb\n'\"\\äAA",
    "mixed": [1, "a", None],
}
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "s",
    "type": "t",
    "time": "2026-01-02T03:04:05.678901234Z",
    "data": DATA,
}


def matches(condition: str, data: Any = DATA) -> bool:
    return filters.compile(None, condition)(json.dumps({**EVENT, "data": data}).encode())


TRUE = [
    # arithmetic
    "data.n + 1 == 8 && data.n - 1 == 6 && data.n * 2 == 14",
    "data.n / 2 == 3 && -data.n / 2 == -3 && data.n % 4 == 3 && -data.n % 4 == -3",
    "data.n / 2.0 == 3.5 && data.f * 2 == 5",
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 3 - 2 == 5",
    "2-1 == 1 && data.n-1 == 6",
    "-data.n < 0 && - -1 == 1",
    "-9223372036854775808 < 0 && 0xFF == 255 && 1u == 1 && 1e3 == 1000 && .5 == 0.5",
    "data.name + '!' == 'v-07!'",
    "data.flags + [true] == [true, false, true]",
    "1.0 / 0.0 > data.big",
    # choices
    "data.n > 5 ? true : false",
    "(data.n > 9 ? 'a' : data.n > 6 ? 'b' : 'c') == 'b'",
    "data.n > 5 ? true : data.absent.deep",
    "false ? data.absent : true",
    # precedence of !
    "!(data.n == 8)",
    "!has(data.absent) == true",
    # lists, maps, places
    "data.tags[data.i] == 'city'",
    "data.map[data.key] == 1",
    "data.points[2].x == 3 && data['points'][0]['x'] == 1",
    "{'a': 1, 'b': 2} == data.map",
    "'a' in {'a': 1}",
    "{'low': 3, 'high': 9}[data.tags[0]] == 3",
    "{0: 'zero', 7: 'seven'}[data.n] == 'seven' && 7.0 in {7: 1} && {1: 2}[1.0] == 2",
    "[1, 2, 3,][1] == 2 && size([]) == 0 && size({}) == 0",
    "data.n in [7, 8] && !(data.n in [])",
    "[1, [2, 3]] == [1.0, [2, 3]]",
    "[1] != [true]",
    "{'a': 1} != {'a': true}",
    # functions
    "data.name.size() == 4 && size(data.name) == 4 && data.tags.size() == 3",
    "data.name.matches('^v-[0-9]+$') && matches(data.name, r'\\d')",
    "data.name.matches('-') && !data.name.matches('^-')",
    "data.tags[0].upperAscii() == 'LOW' && 'AbÄ'.lowerAscii() == 'abÄ'",
    "' a '.trim() == 'a'",
    "int('7') == data.n && int(2.9) == 2 && int(-2.9) == -2 && double('2.5') == data.f",
    "string(data.n) == '7' && string(true) == 'true' && bool('true')",
    "(data.name + 'x').startsWith('v-07x')",
    "timestamp(time) > timestamp('2026-01-01T00:00:00Z')",
    "timestamp(event.time) - timestamp('2026-01-02T03:04:00Z') < duration('6s')",
    "timestamp('2026-01-02T00:00:00+02:00') == timestamp('2026-01-01T22:00:00Z')",
    "timestamp('2026-01-01T00:00:00Z') + duration('1h') > timestamp('2026-01-01T00:30:00Z')",
    "int(timestamp('1970-01-01T00:01:00Z')) == 60 && duration('-1m') < duration('0s')",
    "timestamp(time).getHours() == 3 && timestamp(time).getDayOfWeek() == 5 && timestamp(time).getMonth() == 0",
    "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90",
    "string(timestamp('2026-01-02T03:04:05Z')) == '2026-01-02T03:04:05Z' && string(duration('1.5s')) == '1.5s'",
    "false < true && bool('1') && !bool('F'.lowerAscii())",
    # macros
    "data.tags.exists(t, t == 'city') && !data.tags.exists(t, t == 'none')",
    "data.points.all(p, p.x > 0) && !data.points.all(p, p.x > 1)",
    "data.tags.exists_one(t, t == 'city') && !data.tags.exists_one(t, t == 'low')",
    "data.points.filter(p, p.x > 1).size() == 2",
    "data.points.map(p, p.x * 2) == [2, 4, 6]",
    "data.points.map(p, p.x > 1, p.x) == [2, 3]",
    "data.map.all(key, key in ['a', 'b'])",
    "data.points.all(p, data.points.exists(q, q.x >= p.x))",
    "data.points.map(p, data.points.filter(q, q.x < p.x).size()) == [0, 1, 2]",
    "data.points.exists(data, data.x == 1)",
    "data.mixed.exists(m, m > 0)",
    "[].all(x, false) && ![].exists(x, true)",
    # text
    r"""'a\tb\n\'\"\\\u00e4\x41\101' == data.text""",
    "'''it's\n'ok' ''' == 'it\\'s\\n\\'ok\\' ' && r'''\\''' == '\\\\' && '' == \"\"",
    r"r'\d' == '\\d' && size('\U0001F600') == 1",
]


@pytest.mark.parametrize("condition", TRUE)
def test_holds(condition: str) -> None:
    assert matches(condition)


@pytest.mark.parametrize(
    "value",
    [
        "data.n / data.zero == 0",
        "data.n % data.zero == 0",
        "data.f % 2 == 0",
        "data.big + 1 > 0",
        "data.big * 2 > 0",
        "data.name - 1 == 0",
        "data.name + 1 == 'v-071'",
        "data.flags[0] + 1 == 2",
        "-data.name == 0",
        "data.none + 1 == 1",
        "data.tags[-1] == 'low'",
        "data.tags[9] == 'low'",
        "data.tags['a'] == 'low'",
        "data.tags[data.name] == 'low'",
        "data.map[data.n] == 1",
        "data.n.matches('7')",
        "size(data.n) == 1",
        "int('x') == 0",
        "int('99999999999999999999') > 0",
        "int('9223372036854775808') > 0",
        "double('x') == 0.0",
        "bool('yes')",
        "timestamp('yesterday') > timestamp(time)",
        "timestamp('2026-02-30T00:00:00Z') > timestamp(time)",
        "duration('5') > duration('1s')",
        "timestamp(time) > duration('1s')",
        "data.n ? true : true",
        "data.name.exists(x, true)",
        "data.absent.all(x, true)",
        "data.mixed.all(m, m < 9)",
        "data.mixed.filter(m, m > 0).size() == 1",
        "data.absent",
        "data.n",
        "{true: 2} == {}",
        "{1: 2}[true] == 2",
        "{'a': 1, 'a': 2} == {}",
        "timestamp(time).size() == 1",
        "data.n.getHours() == 1",
        "duration('1h').getMonth() == 1",
        "[data.absent] == []",
    ],
)
def test_what_cannot_be_told_does_not_match_and_neither_does_its_opposite(value: str) -> None:
    assert not matches(value)
    assert not matches(f"!({value})")
    assert matches(f"({value}) || true")


def test_a_pattern_that_stalls_others_does_not_stall() -> None:
    assert not matches("data.matches('(a+)+$')", "a" * 50_000 + "b")


def test_what_looks_at_too_many_items_cannot_be_told() -> None:
    many = list(range(macros.MAX_STEPS // 100))
    condition = "data.all(a, data.all(b, b >= 0))"

    assert matches(condition, many[:10])
    assert not matches(condition, many)
    assert matches(condition, many[:10])


def test_a_macro_leaves_its_variable_behind() -> None:
    assert matches("data.points.exists(p, p.x == 1) && data.points.exists(p, p.x == 3)")


def test_names_of_inputs_of_python_stay_unknown() -> None:
    assert not matches("data.__class__ == 1 || data.name.__len__ == 1")


NUMBER = st.integers(-50, 50)
TREE = st.recursive(
    st.sampled_from(["data.a", "data.b", "data.c"]) | NUMBER.map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=12,
)


@settings(deadline=None)
@given(TREE, NUMBER, NUMBER, NUMBER, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]))
def test_arithmetic_means_what_it_means_elsewhere(tree: str, a: int, b: int, c: int, sign: str) -> None:
    python = eval(tree.replace("data.", ""), {"a": a, "b": b, "c": c})
    tests = {
        "<": operator.lt,
        "<=": operator.le,
        "==": operator.eq,
        "!=": operator.ne,
        ">": operator.gt,
        ">=": operator.ge,
    }
    if abs(python) < 1 << 62 and "(" * 20 not in tree:
        assert matches(f"{tree} {sign} data.a", {"a": a, "b": b, "c": c}) is tests[sign](python, a)


SIGNS = ". [ ] ( ) { } , : ? ! - + * / % && || == <"
WORDS = "data event in 1 2.5 'a' r'b' true null size has all exists x tags"
TEXTS = st.lists(st.sampled_from([*SIGNS.split(), *WORDS.split()]), max_size=25).map(" ".join)


@settings(deadline=None)
@given(TEXTS)
def test_whatever_is_written_compiles_or_is_refused(text: str) -> None:
    try:
        found = matches(text)
    except InvalidInput:
        return
    assert found in {True, False}
