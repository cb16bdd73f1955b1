"""scalingModifiers: expr-lang as far as it speaks of numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.keda.formula import compile_formula
from triggers.keda.formula_tokens import BadFormula

VALUES: dict[str, float | None] = {"a": 2.0, "b": 5.0, "c": 0.0, "gone": None}


def of(text: str) -> float | None:
    return compile_formula(text, VALUES)(VALUES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a+b", 7),
        ("(a+b)/2", 3.5),
        ("a>2?a+b:1", 1),
        ("a >= 2 ? a + b : 1", 7),
        ("count([a,b,c],{#>1})>1?5:0", 5),
        ("gone ?? b", 5),
        ("gone ?? gone ?? 3", 3),
        ("max(a, b, c)", 5),
        ("min([a, b])", 2),
        ("avg([a, b, c])", 7 / 3),
        ("mean(a, b)", 3.5),
        ("median([a, b, c])", 2),
        ("sum(map([a, b], {# * 2}))", 14),
        ("len(filter([a, b, c], {# > 0}))", 2),
        ("a + b * a", 12),
        ("-a ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("b % 3", 2),
        ("not (a > b) and c == 0", 1),
        ("a > b || c > 0 ? 1 : 2", 2),
        ("a in 1..3 ? 4 : 5", 4),
        ("ceil(b / a)", 3),
        ("floor(2.9) + round(2.5) + abs(-1)", 6),
        ("1_000 + .5 + 1e2", 1100.5),
        ("all([a, b], {# > 1}) ? 1 : 0", 1),
        ("none([a, b], {# > 10}) && any([a], {# == 2})", 1),
        ("gone", None),
        ("true ? a : b", 2),
    ],
)
def test_values(text: str, value: float | None) -> None:
    assert of(text) == value


def test_a_division_by_zero_is_no_error_of_the_formula() -> None:
    assert of("a / c") == math.inf
    assert math.isnan(of("c / c") or 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"),
        ("a +", "ends too early"),
        ("a b", "`b` at character 3"),
        ("(a", "expected `)`"),
        ("d + 1", "`d` at character 1 is no trigger; there are a, b, c, gone"),
        ("a ? b", "expected `:`"),
        ("# + 1", "`#` at character 1"),
        ("exec(a)", "no function"),
        ("count(a)", "no function"),
        ("'x'", "means nothing"),
        ("a; b", "means nothing"),
        ("(" * 50 + "a", "levels deep"),
        ("1+" * 1100, "at most 2000"),
    ],
)
def test_what_does_not_hold(text: str, says: str) -> None:
    with pytest.raises(BadFormula, match=says.replace("(", r"\(").replace(")", r"\)").replace("`", "`")):
        compile_formula(text, VALUES)


@pytest.mark.parametrize("text", ["gone + 1", "[a, b]", "max([])", "2 ** 5000", "0..1000000"])
def test_what_comes_to_no_number(text: str) -> None:
    with pytest.raises(BadFormula, match="comes to no number"):
        of(text)


@given(st.text(alphabet="ab+-*/()[]{}#?:<>=!&|.,0123456789 ", max_size=40))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        value = of(text)
    except BadFormula:
        return
    assert value is None or isinstance(value, float)
