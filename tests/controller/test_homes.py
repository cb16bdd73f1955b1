"""Homes are stable and spread evenly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key
from controller.homes import homes

FUNCTIONS = st.sets(st.integers(0, 60)).map(lambda found: {Key("default", f"f{n}") for n in found})
PROXIES = st.sets(st.sampled_from(["proxy-0", "proxy-1", "proxy-2"]))


@given(st.lists(st.tuples(FUNCTIONS, PROXIES), max_size=5))
def test_everything_has_a_home_and_keeps_it(history: list[tuple[set[Key], set[str]]]) -> None:
    before: dict[Key, str] = {}
    for functions, proxies in history:
        after = homes(functions, proxies, before)
        assert after.keys() == (functions if proxies else set())
        assert set(after.values()) <= proxies
        assert all(after[key] == before[key] for key in after if before.get(key) in proxies)
        assert homes(functions, proxies, after) == after
        before = after or before


def test_functions_are_spread_over_proxies() -> None:
    found = homes((Key("default", f"f{n}") for n in range(9)), ["a", "b", "c"], {})

    assert sorted(found.values()) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
