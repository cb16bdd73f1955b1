"""Lists of status codes."""

from __future__ import annotations

import pytest

from api.statuses import number, within


@pytest.mark.parametrize(
    ("listed", "inside", "outside"),
    [("429", [429], [428, 430]), ("429, 500-599", [429, 500, 599], [499, 600]), ("", [0, 200, 999], [])],
)
def test_within(listed: str, inside: list[int], outside: list[int]) -> None:
    assert all(within(listed, code) for code in inside)
    assert not any(within(listed, code) for code in outside)


def test_what_is_no_list_names_all() -> None:
    assert within("often", 500)


def test_numbers_of_grpc() -> None:
    assert [number(name) for name in ("OK", "UNAVAILABLE", "UNAUTHENTICATED", "NO_SUCH")] == [0, 14, 16, 2]
