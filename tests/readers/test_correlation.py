"""Conditions over several inputs: what is over names, and what is over each input's event."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import InvalidInput
from controller.readers.correlation import correlate
from triggers.presence import compile_presence

INPUTS = ("a", "b", "c-d")

ROWS = {
    "both": ("a && b", "a && b", {"a": None, "b": None}),
    "absence": ("a && !b", "a && !b", {"a": None, "b": None}),
    "absence alone": ("!a", "!a", {"a": None, "b": None, "c-d": None}),
    "neither": ("!(a || b)", "!(a || b)", {"a": None, "b": None, "c-d": None}),
    "with data": ("a && b.data.x < 2", "a && b", {"a": None, "b": "event.data.x < 2"}),
    "more data of one": (
        "a && b.data.x < 2 && b.data.y > 1",
        "a && b",
        {"a": None, "b": "event.data.x < 2 && event.data.y > 1"},
    ),
    "alternatives of one": (
        "(b.type == 'u' || b.type == 'v') && c-d",
        "b && c-d",
        {"b": "((event.type == 'u') || (event.type == 'v'))", "c-d": None},
    ),
    "absence of some": ("a && !(b && event.data.x < 2)", "a && !b", {"a": None, "b": "event.data.x < 2"}),
    "nested": ("a && (b || c-d)", "a && (b || c-d)", {"a": None, "b": None, "c-d": None}),
    "names in text": ("a.data.x == 'b && c' && b", "a && b", {"a": "event.data.x == 'b && c'", "b": None}),
}


@pytest.mark.parametrize(("text", "condition", "inputs"), ROWS.values(), ids=ROWS)
def test_correlates(text: str, condition: str, inputs: dict[str, str | None]) -> None:
    found = correlate(text, INPUTS)

    assert (found.condition, found.inputs) == (condition, inputs)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("a && b && data.x < 2", "E125", "write a.data.x"),
        ("a.data.x == b.data.x", "E125", "correlation.key"),
        ("a && b || a.data.x < 2", "E125", "a second time"),
        ("a && !a", "E125", "never holds"),
        ("!a && !b && !c-d", "E125", "never holds"),
        ("a && (b || )", "E125", "nothing stands"),
        ("!" * 60 + "(a && b)", "E126", "deeper"),
        ("(!" * 200 + "a" + ")" * 200, "E126", "deeper"),
    ],
)
def test_refuses(text: str, code: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as raised:
        correlate(text, INPUTS)

    assert raised.value.problems[0].code == code


def test_refuses_more_inputs_than_can_be_tried() -> None:
    inputs = tuple(f"i{number}" for number in range(13))

    with pytest.raises(InvalidInput, match="E126"):
        correlate(" && ".join(inputs), inputs)


TREE = st.recursive(
    st.sampled_from(INPUTS[:2]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["||", "&&"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda one: f"!{one}"),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(TREE, st.sets(st.sampled_from(INPUTS)))
def test_means_what_the_whole_says(tree: str, there: set[str]) -> None:
    try:
        found = correlate(tree, INPUTS)
    except InvalidInput:
        return
    python = tree.replace("||", " or ").replace("&&", " and ").replace("!", " not ")

    assert compile_presence(found.condition)(there) == eval(python, {"a": "a" in there, "b": "b" in there})
