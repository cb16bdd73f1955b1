"""Names on the broker: always one token, never two names for one thing or one name for two."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key
from eventbus import subjects

TOKEN = re.compile(r"[A-Za-z0-9_=-]+")


@given(st.text())
def test_any_text_becomes_one_token(text: str) -> None:
    assert TOKEN.fullmatch(subjects.token(text))
    assert len(subjects.token(text)) <= 48


@given(st.text(), st.text())
def test_different_texts_get_different_tokens(one: str, other: str) -> None:
    assert (one == other) == (subjects.token(one) == subjects.token(other))


def test_safe_text_stays_readable() -> None:
    assert subjects.token("sensors-kitchen_1") == "sensors-kitchen_1"
    assert subjects.token("a.b") == "a_b=" + subjects.token("a.b").partition("=")[2]


def test_partitions_never_change() -> None:
    """Stored events stand on these; another answer would split a key's order."""
    assert [subjects.partition(key) for key in ("", "a", "truck-7", "sensors/kitchen", "ключ")] == [0, 3, 15, 7, 10]


def test_event_and_replay_subjects_do_not_overlap() -> None:
    topic = subjects.topic(Key("default", "default"), "default.readings.all")
    event = topic.event("k", "io.evoke.mqtt.message", "mqtt://readings/all")

    assert event.startswith("ev.default_default.default_readings_all=")
    assert len(event.split(".")) == len(topic.events.split(".")) == 6
    assert len(topic.replay("g").split(".")) == 5


def test_a_group_on_two_topics_has_two_floors() -> None:
    assert subjects.member("g", "one") != subjects.member("g", "two")
