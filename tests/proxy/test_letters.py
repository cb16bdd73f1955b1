"""What a dead letter's copy says, whatever it is a copy of."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.model import TopicSink, UriSink
from eventbus import raw
from eventbus.bus import DeadLetter, EventBus
from eventbus.cloudevents import heading
from eventbus.errors import Refused, TooLarge
from proxy.letters import attribute, beside, carried, copy, destination
from tests.proxy.plant import FAST, Answer, Plant, Replica, event, subscription, until

DEAD = "evoke.dead.default.on-reading.0"
COPIED = subscription(delivery=msgspec.structs.replace(FAST, dead_letter=DEAD))


def letter(payload: bytes, **changes: Any) -> DeadLetter:
    fields: dict[str, Any] = {
        "id": "0-7",
        "subscription": COPIED.key,
        "trigger": "on-reading",
        "subject": COPIED.subject,
        "reason": "max-attempts",
        "error": "HTTP 503",
        "attempts": 3,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "payload": payload,
    }
    return DeadLetter(**(fields | changes))


def test_a_copy_is_the_event_with_what_became_of_it() -> None:
    members = json.loads(copy(letter(event(1, key="a")), COPIED, 503))

    assert members == json.loads(event(1, key="a")) | {
        "evokereason": "max-attempts",
        "evokeerror": "HTTP 503",
        "evokeattempts": 3,
        "evoketrigger": "on-reading",
        "evokehops": 1,
        "knativeerrordest": "/function/default/on-reading",
        "knativeerrorcode": 503,
        "knativeerrordata": "HTTP 503",
    }


def test_bare_bytes_have_their_story_beside_them() -> None:
    carried = raw.wrap(b"\x00", id="m-1", source="/app", type="t", time=datetime(2026, 1, 1, tzinfo=UTC))

    assert beside(letter(carried)) == {
        "evokereason": "max-attempts",
        "evokeerror": "HTTP 503",
        "evokeattempts": "3",
    }
    assert raw.content(copy(letter(carried), COPIED, 503)) == b"\x00"
    assert not beside(letter(event(1)))


def test_messages_of_others_leave_as_they_came() -> None:
    mapped = json.dumps({**json.loads(event(1)), "type": "io.evoke.kafka.record", "data": "some text"}).encode()
    again = carried(letter(mapped, key="k"))

    assert (raw.is_raw(again.payload), raw.content(again.payload)) == (True, b"some text")
    assert json.loads(again.payload)["id"] == "1"
    assert carried(letter(event(1))) == letter(event(1))


def test_a_copy_of_a_copy_tells_the_newer_story() -> None:
    first = copy(letter(event(1)), COPIED, 503)
    members = json.loads(copy(letter(first, reason="rejected", error="no", attempts=1), COPIED, 0))

    assert (members["evokereason"], members["evokeerror"], members["evokeattempts"]) == ("rejected", "no", 1)
    assert members["evokehops"] == 2
    assert "knativeerrorcode" not in members


def test_what_is_no_event_is_carried_as_bytes() -> None:
    raw = b"\xff{not json"
    made = copy(letter(raw, reason="malformed", error="", attempts=0, key="k"), COPIED, 0)

    assert heading(made).type == "io.evoke.malformed"
    members = json.loads(made)
    assert base64.b64decode(members["data_base64"]) == raw
    assert (members["partitionkey"], members["evokereason"]) == ("k", "malformed")
    assert "evokeerror" not in members


def test_a_bare_copy_names_the_letter_that_has_the_data() -> None:
    members = json.loads(copy(letter(event(1)), COPIED, 0, bare=True))

    assert "data" not in members
    assert members["evokeletter"] == "0-7"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a\nb\tc", "a b c"),
        ("x" * 2000, "x" * 1024),
        ("\u00e9" * 1000, "\u00e9" * 512),
        ("a" + "\u20ac" * 400, "a" + "\u20ac" * 341),
    ],
)
def test_attributes_are_short_and_printable(text: str, want: str) -> None:
    assert attribute(text) == want


def test_destinations() -> None:
    assert destination(subscription(sink=UriSink(url="https://e.example/x"))) == "https://e.example/x"
    assert destination(subscription(sink=UriSink(url="https://me:pw@e.example:8/x?k=pw#pw"))) == "https://e.example:8/x"
    assert destination(subscription(sink=TopicSink(subject="t"))) == "/topics/default/default/t"
    assert destination(subscription(backends=())) == "/triggers/default/on-reading"


def refuse_on(bus: EventBus, monkeypatch: pytest.MonkeyPatch, error: Exception, *, larger: int = 0) -> None:
    """Let the topic of dead letters refuse what has more bytes than *larger*."""
    publish = bus.publish

    async def refusing(subject: str, payload: bytes, **named: Any) -> None:
        if subject == DEAD and len(payload) > larger:
            raise error
        await publish(subject, payload, **named)

    monkeypatch.setattr(bus, "publish", refusing)


async def reject(_one: Answer) -> Answer:
    return {"status": "DROP", "reason": "no"}


def test_a_key_waits_while_the_topic_of_dead_letters_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Plant(COPIED) as plant:
            with monkeypatch.context() as patch:
                refuse_on(plant.bus, patch, Refused("full"))
                await plant.scale(Replica(reject))
                await plant.publish(event(1, key="a"), event(2, key="a"))
                await until(lambda: plant.reading.condition == "DeadLetterUnavailable")
                assert await plant.letters() == []
                assert plant.reading.lag == 2
            await plant.drained()
            assert [one.event_id for one in await plant.letters()] == ["1", "2"]
            assert plant.reading.condition == ""

    asyncio.run(scenario())


def test_a_copy_that_is_too_large_goes_without_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Plant(COPIED) as plant:
            refuse_on(plant.bus, monkeypatch, TooLarge("too large"), larger=2000)
            await plant.scale(Replica(reject))
            await plant.publish(event(1, text="x" * 3000))
            await plant.drained()

            (stored,) = await plant.letters()
            async with asyncio.timeout(5):
                async for one in plant.bus.tail(DEAD, since=datetime(2026, 1, 1, tzinfo=UTC)):
                    members = json.loads(one.payload)
                    assert (members["evokeletter"], "data" in members) == (stored.id, False)
                    break

    asyncio.run(scenario())
