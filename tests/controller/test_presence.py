"""A proxy that is away for a moment keeps what it is the home of."""

from controller.presence import AWAY, Presence


def test_one_that_is_away_counts_for_a_while():
    presence = Presence()

    assert presence.counted(["a", "b"], 10.0) == ["a", "b"]
    assert presence.changes_in(["a", "b"], 10.0) is None
    assert presence.counted(["a"], 11.0) == ["a", "b"]
    assert presence.changes_in(["a"], 11.0) == AWAY - 1.0
    assert presence.counted(["a"], 10.0 + AWAY) == ["a"]
    assert presence.counted(["a", "b"], 20.0) == ["a", "b"]


def test_those_that_are_expected_count_before_they_connect():
    presence = Presence(["a", "b"], now=100.0)

    assert presence.counted(["b"], 100.5) == ["a", "b"]
    assert presence.changes_in(["b"], 100.0 + AWAY) is None
    assert presence.counted(["b"], 100.0 + AWAY) == ["b"]
