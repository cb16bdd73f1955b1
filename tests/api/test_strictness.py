"""Whatever comes in, an answer or InvalidInput comes out; what goes out means what it meant."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from api import documents, durations, quantities, schedules, tree
from api.errors import InvalidInput, Problem
from api.kinds import KINDS
from tests.api.bad_input import FUNCTION, SOURCE, TRIGGER

SIGNS = st.sampled_from(
    ["{", "}", "[", "]", ",", "&x ", "*x", "!!str ", ": ", "? ", "# ", "'", '"', "<<: ", "|", " >\n"]
)
WORDS = SIGNS | st.sampled_from(
    ["a: ", "- ", "  ", "\n", "---\n", "...\n", "\t", "yes", "012", "~", "%YAML 1.1\n", "é"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(["kind", "metadata", "spec", "name", "labels", "serving", "triggers", "http", "dapr", "inputs"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=30).map("".join))
def test_any_text_is_answered(text: str) -> None:
    answered(text.encode())


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_answered(content: bytes) -> None:
    answered(content)


@settings(deadline=None)
@given(st.sampled_from([FUNCTION, SOURCE, TRIGGER]), st.data())
def test_any_damage_is_answered(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(WORDS) + text[at + data.draw(st.integers(0, 3)) :]
    answered(damaged.encode())


def answered(content: bytes) -> None:
    found: tuple[Problem, ...] = ()
    try:
        documents.read(["-"], stdin=io.BytesIO(content))
    except InvalidInput as error:
        found = error.problems
    assert all(problem.code and problem.message for problem in found)
    assert all("\n" not in str(problem) for problem in found)


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), VALUES)
def test_any_value_over_the_api_is_answered(kind: tuple[str, str], spec: Any) -> None:
    resource = {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "a"}, "spec": spec}
    try:
        (document,) = documents.decode_all([{"resource": resource}])
    except InvalidInput:
        return
    assert documents.decode_spec(*kind, document.body) == document.spec


@given(VALUES)
def test_a_resource_that_is_no_resource_is_answered(resource: Any) -> None:
    with pytest.raises(InvalidInput):
        documents.decode_all([{"resource": resource}])


PLAIN = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=12)


@given(PLAIN)
def test_a_plain_scalar_means_the_same_to_every_reader_or_is_refused(text: str) -> None:
    """PyYAML reads YAML 1.1; JSON is what every reader agrees on."""
    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return
    meant = tree.scalar(text)
    if isinstance(said, bool | int | float) and not isinstance(meant, tree.Ambiguous):
        assert (type(meant), meant) == (type(said), said)
    if isinstance(meant, bool | int):
        assert json.loads(json.dumps(meant)) == meant


@given(st.timedeltas(timedelta(0), timedelta(days=366)))
def test_durations_are_read_back(duration: timedelta) -> None:
    assert durations.parse(durations.render(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("30s", 30), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), ("100us", 0.0001), ("8784h", 31_622_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "-1s", "+1s", "1e3s", "1d", "٣s", "8785h", "1s1", "9" * 70])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        durations.parse(text)


@pytest.mark.parametrize(
    ("text", "milli"), [("1", 1000), (2, 2000), ("500m", 500), ("0.5", 500), ("1.0005", 1001), ("1Ki", 1_024_000)]
)
def test_amounts(text: str | int, milli: int) -> None:
    assert quantities.milli(text) == milli


@pytest.mark.parametrize("text", ["", "lots", "-1", "1 Gi", "1gi", "1e3", "٣", "1" * 40])
def test_no_amounts(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount"):
        quantities.parse(text)


@pytest.mark.parametrize("text", ["@every 2s", "@hourly", "* * * * *", "*/10 * * * * *", "TZ=Europe/Berlin 0 9 * * 1"])
def test_schedules(text: str) -> None:
    assert schedules.defect(text) == ""


@pytest.mark.parametrize(
    "text", ["", "@never", "@every", "@every 2", "* * * *", "60 * * * *", "a * * * *", "TZ=../x 1 * * * *"]
)
def test_no_schedules(text: str) -> None:
    assert schedules.defect(text)
