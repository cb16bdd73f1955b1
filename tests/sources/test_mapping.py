"""Whatever a message of MQTT or NATS holds becomes a CloudEvent that the bus takes, or is named unfit."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from eventbus import cloudevents
from triggers.sources import mqtt_events, nats_events

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EVENT = cloudevents.encode(id="1", source="/s", type="t", body=b"1")
names = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["specversion", "id", "source", "type", "partitionkey", "time", "subject", "evokehops", "data"]),
)
values = st.one_of(st.text(max_size=50), st.sampled_from(["1.0", "t", "/s", "io.evoke.x", "", "x" * 5000]))
pairs = st.lists(st.tuples(names, values), max_size=100)
payloads = st.one_of(st.binary(max_size=200), st.sampled_from([EVENT, b"{}", EVENT[:-1], b'{"specversion":"1.0"}']))
content_types = st.one_of(
    st.text(max_size=40), st.sampled_from(["application/json", "text/plain", "application/cloudevents+json", "a/b;c"])
)
topics = st.one_of(st.text(max_size=60), st.sampled_from(["a/b", "a\0b", "", "x" * 5000]))


@given(topics, payloads, pairs, content_types, st.one_of(st.none(), st.integers(0, 2**32 - 1)), st.booleans())
@example("a", EVENT, [], "", None, False)
def test_mqtt(
    topic: str,
    payload: bytes,
    user: list[tuple[str, str]],
    content_type: str,
    expires: int | None,
    trusted: bool,
) -> None:
    if mqtt_events.unfit(topic):
        return
    said = mqtt_events.Properties(content_type, tuple(user), expires, retained=True)
    made = mqtt_events.convert(topic, payload, said, source="mqtt://e/s", id="1-2", now=NOW, trusted=trusted)
    read = cloudevents.checked(cloudevents.with_key(made.payload, cloudevents.heading(made.payload), made.key))

    assert made.dedupe == cloudevents.dedupe_id(read.source, read.id)
    assert made.place == "1-2"
    if not trusted and read.type.startswith("io.evoke."):
        assert (read.type, read.source, read.id) == (mqtt_events.EVENT_TYPE, "mqtt://e/s", "1-2")


header_names = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=20),
    st.sampled_from(["ce-specversion", "ce-id", "ce-source", "ce-type", "Content-Type", "Nats-Msg-Id", "ce-evokehops"]),
)
header_values = st.one_of(st.text(max_size=50), st.sampled_from(["1.0", "t", "/s", "%zz", "%00", "io.evoke.x", "a/b"]))


@given(topics, payloads, st.dictionaries(header_names, header_values, max_size=20))
@example("a", EVENT, {"Content-Type": "application/cloudevents+json"})
@example("a", b"[]", {"Content-Type": "application/cloudevents-batch+json"})
def test_nats(subject: str, data: bytes, headers: dict[str, str]) -> None:
    if nats_events.unfit(subject):
        return
    made = nats_events.convert(subject, data, headers, source="nats://e/s", id="1-2", time=NOW)
    read = cloudevents.checked(cloudevents.with_key(made.payload, cloudevents.heading(made.payload), made.key))

    assert made.dedupe == cloudevents.dedupe_id(read.source, read.id)
    if read.type.startswith("io.evoke."):
        assert (read.type, read.source, read.id) == (nats_events.EVENT_TYPE, "nats://e/s", "1-2")
    assert b'"natsmsgid"' not in made.payload
