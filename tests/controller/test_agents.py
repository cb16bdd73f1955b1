"""What agents report, as the planner sees it."""

from datetime import UTC, datetime

import msgspec

from api.actions import Observed
from api.frames import BusReading, Readings, SourceReading, TriggerReading
from api.meta import Key, RevisionKey
from api.model import Replica
from controller.agents import facts, kills


class Agent(msgspec.Struct):
    role: str
    readings: Readings | None


BUS, SOURCE, TRIGGER = Key("d", "default"), Key("d", "es.one"), Key("d", "t")
REVISION = RevisionKey("d", "f", "00001")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reading(**fields):
    return Readings(boot_id="b", seq=1, **fields)


def test_one_complaint_outweighs_silence_and_nothing_read_is_absent():
    agents = {
        "proxy-0": Agent("proxy", reading(buses=(BusReading(bus=BUS, connected=True),))),
        "proxy-1": Agent("proxy", reading(buses=(BusReading(bus=BUS, reason="AuthFailed", message="no"),))),
        "gateway-0": Agent("gateway", None),
    }

    found = facts(agents)

    assert found["agents"] == {"proxy-0": "proxy", "proxy-1": "proxy", "gateway-0": "gateway"}
    assert found["buses"] == {"d/default": "AuthFailed: no"}
    assert found["sources"] == found["subscriptions"] == {}
    assert Observed(**found).agents["gateway-0"] == "gateway"


def test_subscriptions_and_sources_speak_in_reasons():
    triggers = (TriggerReading(subscription=TRIGGER, revision=REVISION, condition="BusUnreachable", last_error="x"),)
    sources = (SourceReading(source=SOURCE, connected=False, message="refused"),)

    found = facts({"proxy-0": Agent("proxy", reading(triggers=triggers, sources=sources))})

    assert found["subscriptions"] == {"d/t": "BusUnreachable: x"}
    assert found["sources"] == {"d/es.one": "Unreachable: refused"}


def test_a_source_that_works_but_not_well_says_so():
    sources = (
        SourceReading(source=SOURCE, connected=True, reason="SourceSaturated", message="full"),
        SourceReading(source=Key("d", "es.two"), connected=True, message="a remark"),
    )

    found = facts({"proxy-0": Agent("proxy", reading(sources=sources))})

    assert found["sources"] == {"d/es.one": "SourceSaturated: full", "d/es.two": ""}


def test_an_owned_subscription_has_no_word():
    triggers = (TriggerReading(subscription=TRIGGER, revision=REVISION),)

    assert facts({"p": Agent("proxy", reading(triggers=triggers))})["subscriptions"] == {"d/t": ""}


def test_stuck_replicas_are_ended_while_they_are_there():
    agents = {
        "proxy-0": Agent("proxy", reading(stuck=("r2", "gone"))),
        "proxy-1": Agent("proxy", reading(stuck=("r2", "r1"))),
        "gateway-0": Agent("gateway", None),
    }
    replicas = [
        Replica(id=name, revision=REVISION, phase="ready", address="unix:/r", since=NOW) for name in ("r1", "r2", "r3")
    ]

    (kill,) = kills(agents, replicas)

    assert kill.replicas == ("r1", "r2")
    assert kills(agents, replicas[2:]) == ()
