"""Conditions split over inputs, held against the plain meaning of the whole condition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.readers.conditions import NeedsCorrelation, split

INPUTS = ("a", "b", "c-d")

ROWS = {
    "nothing": (None, {"a": None, "b": None, "c-d": None}),
    "blank": ("  ", {"a": None, "b": None, "c-d": None}),
    "one": ("a", {"a": None}),
    "dashes": ("c-d", {"c-d": None}),
    "either": ("a || b", {"a": None, "b": None}),
    "parentheses": ("((a)||(b))", {"a": None, "b": None}),
    "with data": ("a && event.data.x < 2", {"a": "event.data.x < 2"}),
    "data first": ("event.data.x < 2 && a", {"a": "event.data.x < 2"}),
    "no input": ("data.x < 2", {"a": "data.x < 2", "b": "data.x < 2", "c-d": "data.x < 2"}),
    "each its own": (
        "a && data.x < 2 || b && data.y == 1 || data.z > 0 && b",
        {"a": "data.x < 2", "b": "(data.y == 1) || (data.z > 0)"},
    ),
    "both with data": ("(a || b) && data.x < 2", {"a": "data.x < 2", "b": "data.x < 2"}),
    "alternatives of data": ("a && (data.x < 2 || data.y == 1)", {"a": "(data.x < 2 || data.y == 1)"}),
    "a path from an input": ("a.data.x < 2 || b.type == 'b'", {"a": "event.data.x < 2", "b": "event.type == 'b'"}),
    "a negated path": ("!a.data.flag", {"a": "!event.data.flag"}),
    "always and sometimes": ("a || a && data.x < 2", {"a": None}),
    "a choice": ("a.data.x ? a.data.y : true || false", {"a": "event.data.x ? event.data.y : true || false"}),
    "a choice beside": ("a && (data.x ? true : data.y)", {"a": "(data.x ? true : data.y)"}),
    "a map": ("a && {'x': 1 || 2}.x == 1", {"a": "{'x': 1 || 2}.x == 1"}),
    "a name in text": ("data.x == 'a || b'", dict.fromkeys(INPUTS, "data.x == 'a || b'")),
    "a name as member": ("data.a == data['b']", dict.fromkeys(INPUTS, "data.a == data['b']")),
}


@pytest.mark.parametrize(("condition", "wanted"), ROWS.values(), ids=ROWS)
def test_splits(condition: str | None, wanted: dict[str, str | None]) -> None:
    assert split(condition, INPUTS) == wanted


@pytest.mark.parametrize(
    "condition",
    [
        "a && b",
        "!a",
        "!(a || b)",
        "a && (b || data.x < 2)",
        "(a || data.x < 2) && b",
        "a.data.x == b.data.x",
        "!a || b",
    ],
)
def test_two_inputs_at_once_need_correlation(condition: str) -> None:
    with pytest.raises(NeedsCorrelation):
        split(condition, INPUTS)


@pytest.mark.parametrize("condition", ["a &&", "&& a", "a || ", "(a", "a)", "()", "||"])
def test_what_does_not_parse_is_left_to_the_compiler(condition: str) -> None:
    """Never every event by mistake for all inputs: what is left over still holds the defect."""
    found = split(condition, INPUTS)

    assert None not in found.values() or condition == "a || "


INPUT = st.sampled_from(["a", "b"])
PREDICATE = st.sampled_from(["event.data.p", "event.data.q"])
TREE = st.recursive(
    st.one_of(INPUT, PREDICATE),
    lambda inner: st.tuples(inner, st.sampled_from(["||", "&&"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@settings(deadline=None)
@given(TREE, INPUT, st.booleans(), st.booleans())
def test_each_input_holds_what_the_whole_says_when_it_alone_came(tree: str, came: str, p: bool, q: bool) -> None:
    try:
        found = split(tree, ["a", "b"])
    except NeedsCorrelation:
        return

    assert truth(tree, {came}, p=p, q=q) == (came in found and truth(found[came] or "True", {came}, p=p, q=q))


def truth(text: str, came: set[str], *, p: bool, q: bool) -> bool:
    python = text.replace("||", " or ").replace("&&", " and ").replace("event.data.", "")
    return bool(eval(python, {"a": "a" in came, "b": "b" in came, "p": p, "q": q, "True": True}))


def test_an_input_may_have_the_name_of_a_function() -> None:
    assert split("int(a.data.x) == 1 || int", ["a", "int"]) == {"a": "int(event.data.x) == 1", "int": None}
