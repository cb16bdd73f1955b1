"""Topic filters as MQTT means them, and a topic for every subject."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from eventbus.mqtt.topics import filter_of, matches, topic_of

_ESCAPED = re.compile(r"%([0-9A-F]{2})")
level = st.sampled_from(["a", "b", "", "$x"])
filters = st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"]), "#"])
)


@given(filters, st.lists(level, min_size=1, max_size=4).map("/".join))
def test_filters_match_as_the_client_library_says(filter_: str, topic: str) -> None:
    assert matches(filter_, topic) == topic_matches_sub(filter_, topic)


@given(st.text(min_size=1))
def test_every_subject_has_a_topic_of_its_own(subject: str) -> None:
    topic = topic_of(subject)

    assert _ESCAPED.sub(lambda found: chr(int(found[1], 16)), topic) == subject
    assert not set(topic) & set("+#\0")
    assert not topic.startswith("$")


def test_what_users_may_write_stays_as_it_is() -> None:
    for subject in ("default.sensors.temperature", "orders/new", "naïve-topic", "a_b"):
        assert topic_of(subject) == subject


def test_a_shared_subscription_means_its_filter() -> None:
    assert filter_of("$share/group/a/+/b") == "a/+/b"
    for plain in ("a/b", "$SYS/a", "$share/group", "$share/+/a", "x/$share/g/a"):
        assert filter_of(plain) == plain
