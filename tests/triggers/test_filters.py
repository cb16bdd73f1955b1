"""Filters and conditions: what matches, what cannot be told, what is refused with which code."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import InvalidInput
from api.model import Filter
from triggers import filters

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "mqtt://fleet/telemetry",
    "type": "io.evoke.mqtt.message",
    "subject": "fleet/v-07/telemetry",
    "mqttretained": True,
    "hops": 3,
    "data": {"vehicle": "v-07", "battery": 18, "tags": ["low", "city"], "gps": {"lat": 52.5}, "note": None, "a b": 1},
}


def matches(condition: str, event: dict[str, Any] | None = None) -> bool:
    return filters.compile(None, condition)(json.dumps(event or EVENT).encode())


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        ("event.data.battery < 20", True),
        ("data.battery < 20", True),
        ("data.battery < 18", False),
        ("data.battery <= 18 && data.vehicle == 'v-07'", True),
        ("data.battery >= 18.0", True),
        ("data.battery == 18.0", True),
        ("data.battery != 18", False),
        ("data.battery > -1", True),
        ('data.vehicle == "v-07"', True),
        ("18 == data.battery", True),
        ("!(data.battery < 20)", False),
        ("!!(data.battery < 20)", True),
        ("data.gps.lat > 52", True),
        ("data['gps']['lat'] > 52", True),
        ("data.tags[0] == 'low'", True),
        ("data.tags[9] == 'low'", False),
        ("data['a b'] == 1", True),
        ("'city' in data.tags", True),
        ("data.vehicle in ['v-01', 'v-07']", True),
        ("'battery' in data", True),
        ("!('speed' in data)", True),
        ("has(data.speed)", False),
        ("has(event.data.battery)", True),
        ("has(data.speed) && data.speed > 3 || data.battery < 20", True),
        ("size(data.tags) == 2", True),
        ("type == 'io.evoke.mqtt.message'", True),
        ("event.mqttretained", True),
        ("event.mqttretained == true", True),
        ("event.mqttretained == 1", False),
        ("event.hops == 3", True),
        ("subject.startsWith('fleet/') && subject.endsWith('telemetry') && subject.contains('v-07')", True),
        ("data.note == null", True),
        ("true", True),
        ("false || true && false", False),
        # what cannot be told decides nothing
        ("data.speed < 20", False),
        ("!(data.speed < 20)", False),
        ("data.speed < 20 || data.battery < 20", True),
        ("data.vehicle < 20", False),
        ("!(data.vehicle < 20)", False),
        ("data.battery", False),
        ("data.battery.deep.er == 1", False),
    ],
)
def test_condition(condition: str, want: bool) -> None:
    assert matches(condition) is want


@pytest.mark.parametrize(
    ("condition", "code", "says"),
    [
        ("data.battery <", "E125", "expected a value at the end"),
        ("data.battery + < 20", "E125", "expected a value before `<`"),
        ("telemetry", "E125", "did you mean event.telemetry"),
        ("matches(data.x, '(?=a)')", "E125", "no regular expression of RE2"),
        ("data.x.matches('(a)\\\\1')", "E125", "no regular expression of RE2"),
        ("data.x.matches('(((a{1000}){1000}){1000})')", "E125", "no regular expression of RE2"),
        ("data.x.matches('" + "a" * 1025 + "')", "E126", "longer than 1024"),
        ("data.x.matches(data.y)", "E125", "stands as text"),
        ("data.x.matches('\\d')", "E125", "is no escape"),
        ("matches(data.x)", "E125", "expected `,`"),
        ("data.battery < 20 data.x", "E125", "expected an operator"),
        ("(data.battery < 20", "E125", "expected `)`"),
        ("data.battery = 20", "E125", "unexpected `=`"),
        ("__import__('os')", "E125", "is not offered: functions are has"),
        ("data.x.size(1)", "E125", "with 1 arguments"),
        ("startsWith(data.x, 'a')", "E125", "not offered with 2"),
        ("data.x.int()", "E125", "not offered with 0"),
        ("data.x.all(y)", "E125", "expected `,`"),
        ("data.x.all(y, true, true)", "E125", "all() takes a variable"),
        ("data.x.all(y.z, true)", "E125", "expected `,`"),
        ("data.x.exists(y, z > 1)", "E125", "unknown name `z`"),
        ("y > 1 && data.x.exists(y, y > 1)", "E125", "unknown name `y`"),
        ("has(1)", "E125", "takes a path"),
        ("data.x ? 1", "E125", "expected `:`"),
        ("9223372036854775808 > 1", "E125", "64 bits"),
        ("{'a' 1}", "E125", "expected `:`"),
        ("b'bytes' == 1", "E125", "unknown name `b`"),
        ("1" + "+1" * 1000 + " > 0", "E126", "operators"),
        ("!" * 100 + "true", "E126", "deeper than"),
        ("true ? 1 : " * 100 + "2", "E126", "deeper than"),
        ("string(" * 100 + "1" + ")" * 100, "E126", "deeper than"),
        ("'in' in", "E125", "expected a value"),
        ("data.x == 'a", "E125", "unexpected `'`"),
        ("event", "E125", "expected `.`"),
        ("data.x == '" + "a" * 5000 + "'", "E126", "longer than"),
        ("(" * 100 + "true" + ")" * 100, "E126", "deeper than"),
        ("1 in " + "[" * 2000 + "]" * 2000, "E126", "deeper than"),
    ],
)
def test_refused_condition(condition: str, code: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        filters.compile(None, condition)

    assert raised.value.problems[0].code == code
    assert says in raised.value.problems[0].message


@pytest.mark.parametrize(
    ("dialect", "argument", "want"),
    [
        ("exact", {"type": "io.evoke.mqtt.message"}, True),
        ("exact", {"type": "io.evoke.mqtt.message", "id": "2"}, False),
        ("exact", {"mqttretained": "true"}, True),
        ("exact", {"hops": "3"}, True),
        ("exact", {"absent": "x"}, False),
        ("prefix", {"type": "io.evoke."}, True),
        ("suffix", {"subject": "/telemetry"}, True),
        ("suffix", {"absent": "/telemetry"}, False),
        ("all", [{"prefix": {"type": "io."}}, {"exact": {"id": "1"}}], True),
        ("all", [{"prefix": {"type": "io."}}, {"exact": {"id": "2"}}], False),
        ("any", [{"prefix": {"type": "com."}}, {"exact": {"id": "1"}}], True),
        ("not", {"exact": {"id": "1"}}, False),
        ("not", {"exact": {"absent": "1"}}, True),
        ("not", {"any": [{"exact": {"id": "2"}}, {"not": {"exact": {"id": "1"}}}]}, True),
        ("sql", "type LIKE 'io.evoke.%' AND hops = 3", True),
        ("expression", "data.battery < 20", True),
    ],
)
def test_filter(dialect: Any, argument: Any, want: bool) -> None:
    predicate = filters.compile(Filter(dialect=dialect, argument=json.dumps(argument)))

    assert predicate(json.dumps(EVENT).encode()) is want


@pytest.mark.parametrize(
    ("dialect", "argument", "code"),
    [
        ("exact", "{", "E125"),
        ("exact", "{}", "E125"),
        ("exact", '{"Type":"x"}', "E125"),
        ("exact", '{"data":"x"}', "E125"),
        ("exact", '{"type":1}', "E125"),
        ("all", "[]", "E125"),
        ("not", '{"regex":{"type":"x"}}', "E125"),
        ("sql", '"type = "', "E125"),
        ("sql", "7", "E125"),
        ("expression", "7", "E125"),
        ("all", '[{"all":' * 200 + '[{"exact":{"id":"1"}}]' + "}]" * 200, "E126"),
        ("prefix", '{"type":"' + "x" * 5000 + '"}', "E126"),
    ],
)
def test_refused_filter(dialect: Any, argument: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        filters.compile(Filter(dialect=dialect, argument=argument))

    assert raised.value.problems[0].code == code


def test_filter_and_condition_hold_together() -> None:
    predicate = filters.compile(Filter(dialect="exact", argument='{"id":"1"}'), "data.battery < 20")

    assert predicate(json.dumps(EVENT).encode())
    assert not predicate(json.dumps({**EVENT, "id": "2"}).encode())


def test_nothing_to_check_is_always() -> None:
    assert filters.compile(None, None) is filters.always
    assert filters.compile(None, " ") is filters.always


@pytest.mark.parametrize("payload", [b"", b"not json", b"[]", b"17"])
def test_payload_that_is_no_event(payload: bytes) -> None:
    with pytest.raises(filters.Malformed):
        filters.compile(None, "data.battery < 20")(payload)


NAMES = st.sampled_from(["type", "subject", "kind"])
SIMPLE = st.tuples(
    st.sampled_from(["exact", "prefix", "suffix"]),
    st.dictionaries(NAMES, st.sampled_from(["a", "ab", "ba"]), min_size=1),
).map(lambda pair: {pair[0]: pair[1]})
NESTED = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"all": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"any": items}),
        inner.map(lambda item: {"not": item}),
    ),
    max_leaves=6,
)


def naive(expression: dict[str, Any], event: dict[str, str]) -> bool:
    ((dialect, argument),) = expression.items()
    if dialect in {"all", "any"}:
        return (all if dialect == "all" else any)(naive(item, event) for item in argument)
    if dialect == "not":
        return not naive(argument, event)
    tests = {"exact": str.__eq__, "prefix": str.startswith, "suffix": str.endswith}
    return all(name in event and tests[dialect](event[name], value) for name, value in argument.items())


@settings(deadline=None)
@given(NESTED, st.dictionaries(NAMES, st.sampled_from(["a", "ab", "aba", "c"])))
def test_filters_agree_with_the_naive_reading(expression: dict[str, Any], event: dict[str, str]) -> None:
    ((dialect, argument),) = expression.items()
    predicate = filters.compile(Filter(dialect=dialect, argument=json.dumps(argument)))

    assert predicate(msgspec.json.encode(event)) is naive(expression, event)


@pytest.mark.parametrize(
    ("filter_", "condition", "count"),
    [
        (None, "data.battery < 20", 0),
        (None, "data.battery < 5", 0),
        (None, "data.speed < 20", 1),
        (None, "data.vehicle < 20", 1),
        (("sql", "absent = 'x'"), None, 1),
        (("sql", "INT(type) = 1"), None, 1),
        (("sql", "NOT EXISTS absent"), "data.speed < 20", 1),
        (("exact", {"type": "other"}), "data.speed < 20", 0),
    ],
)
def test_what_cannot_be_told_is_counted(filter_: Any, condition: str | None, count: int) -> None:
    untold: list[None] = []
    given = Filter(dialect=filter_[0], argument=json.dumps(filter_[1])) if filter_ else None
    predicate = filters.compile(given, condition, lambda: untold.append(None))

    predicate(json.dumps(EVENT).encode())

    assert len(untold) == count
