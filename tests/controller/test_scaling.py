"""Readings of a fleet to SetReplicas: what is summed, whom it drains, when it cannot see, and what `describe` says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from api.actions import Observed, RevisionState, SetReplicas
from api.frames import Readings, RouteReading, TriggerReading, Want
from api.meta import Key, RevisionKey
from api.model import Backend, Replica, Route, Snapshot, Subscription, UriSink
from api.scaling import Authority, ScalePolicy
from controller.explanation import duration
from controller.scaler import Scaler
from controller.scaling import Memory, Scaled, drain, scale
from controller.sight import Fleet

OLD, NEW = (RevisionKey("default", "f", number) for number in ("00001", "00002"))
SUB = Key("default", "f.topic")
SINK = Key("default", "t.0")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 1000.0


class FakeAgent(msgspec.Struct, kw_only=True):
    role: str
    boot_id: str = "boot"
    readings: Readings | None = None
    received: float = NOW
    wants: Mapping[RevisionKey, Want] = {}


def proxy(*triggers: TriggerReading, used: dict[str, int] | None = None, **fields: object) -> FakeAgent:
    return FakeAgent(
        role="proxy", readings=Readings(boot_id="boot", seq=1, triggers=triggers, used=used or {}), **fields
    )


def gateway(*routes: RouteReading, used: dict[str, int] | None = None, **fields: object) -> FakeAgent:
    return FakeAgent(role="gateway", readings=Readings(boot_id="boot", seq=1, routes=routes, used=used or {}), **fields)


def reading(revision: RevisionKey = NEW, **fields: object) -> TriggerReading:
    return TriggerReading(subscription=SUB, revision=revision, **fields)


def snapshot(revision: RevisionKey = NEW) -> Snapshot:
    backends = (Backend(revision=revision),)
    subscription = Subscription(key=SUB, bus=Key("default", "default"), subject="topic", group="f", backends=backends)
    return Snapshot(
        namespace="default",
        routes=(Route(key=revision.function_key, backends=backends),),
        subscriptions=(subscription,),
    )


def state(key: RevisionKey = NEW, *, wanted: int = 0, **policy: object) -> RevisionState:
    scale_policy = ScalePolicy(**{"cooldown": timedelta(seconds=300), **policy})
    return RevisionState(key=key, digest="d", checked=True, wanted=wanted, created=EPOCH, scale=scale_policy)


def replicas(count: int, revision: RevisionKey = NEW, phase: str = "ready") -> tuple[Replica, ...]:
    return tuple(
        Replica(id=f"{revision.revision}-{n}", revision=revision, phase=phase, since=EPOCH + timedelta(seconds=n))
        for n in range(count)
    )


def fleet(proxy_: FakeAgent | None = None, gateway_: FakeAgent | None = None, **fields: object) -> Fleet:
    agents = {"proxy-0": proxy_ or proxy(reading()), "gateway-0": gateway_ or gateway()}
    return Fleet(**{"agents": agents, "revisions": (state(),), "replicas": (), "snapshots": (snapshot(),), **fields})


def with_sink(found: Snapshot) -> Snapshot:
    """*found* and a subscription without a function, which no replica ever serves."""
    sunk = Subscription(
        key=SINK, bus=Key("default", "default"), subject="topic", group="s", sink=UriSink(url="http://localhost")
    )
    return msgspec.structs.replace(found, subscriptions=(*found.subscriptions, sunk))


def of_sink(**fields: object) -> TriggerReading:
    return TriggerReading(subscription=SINK, revision=RevisionKey("default", "", ""), **fields)


ROWS = [
    ("nothing to do", fleet(), None),
    ("lag wakes", fleet(proxy(reading(lag=1, runnable=1))), (1, "event waiting, lag 1")),
    ("a want wakes before the reading", fleet(proxy(reading(), wants={NEW: Want(revision=NEW, waiting=2)})),
     (1, "event waiting, lag 2")),
    ("a request wakes", fleet(gateway_=gateway(RouteReading(revision=NEW, waiting=3))), (1, "request waiting, 3 held")),
    ("a request's want wakes", fleet(gateway_=gateway(wants={NEW: Want(revision=NEW)})),
     (1, "request waiting, 1 held")),
    ("a started wake-up is not said again", fleet(proxy(reading(lag=1)), revisions=(state(wanted=1),)), None),
    ("lag of an older snapshot counts for the serving revision", fleet(proxy(reading(OLD, lag=4)),
     revisions=(state(OLD), state())), (1, "event waiting, lag 4")),
    ("a trigger that is gone does not wake", fleet(proxy(reading(lag=9)), snapshots=(Snapshot(namespace="x"),)),
     None),
    ("a sink wakes nobody", fleet(proxy(reading(), of_sink(lag=9, runnable=9, in_flight=3)),
     snapshots=(with_sink(snapshot()),)), None),
    ("a sink that cannot be read leaves others in sight", fleet(proxy(reading(lag=1, runnable=1), of_sink(blind="no")),
     snapshots=(with_sink(snapshot()),)), (1, "event waiting, lag 1")),
    ("growth", fleet(proxy(reading(lag=900, runnable=50, in_flight=1, handler_us=500_000, done=9), used={"00002-0": 1}),
     revisions=(state(wanted=1),), replicas=replicas(1)), (2, "in-flight 1, lag 900")),
    ("another decides", fleet(proxy(reading(lag=9)), revisions=(state(authority=Authority.EXTERNAL),)), None),
    ("paused at", fleet(revisions=(state(authority=Authority.PAUSED, paused_at=2),)), (2, "paused at 2")),
]  # fmt: skip


@pytest.mark.parametrize(("fleet", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_look(fleet: Fleet, wanted: tuple[int, str] | None) -> None:
    actions = scale(fleet, Memory(), NOW).actions

    assert [(one.replicas, one.because) for one in actions] == ([wanted] if wanted else [])


def test_a_retired_revision_ends_its_work_first_and_then_goes_at_once() -> None:
    retired = state(OLD, wanted=2, cooldown=timedelta())
    both = replicas(2, OLD)
    busy = fleet(proxy(reading(), used={"00001-1": 1}), revisions=(retired, state()), replicas=both)
    idle = fleet(revisions=(retired, state()), replicas=both)

    first = scale(busy, Memory(), NOW)
    assert first.actions == (
        SetReplicas(revision=OLD, replicas=1, drain=("00001-0",), because=first.actions[0].because),
    )
    second = scale(idle, first.memory, NOW + 1)
    assert second.actions[0].replicas == 0
    assert set(second.actions[0].drain) == {"00001-0", "00001-1"}


def test_drains_idle_then_least_busy_then_youngest() -> None:
    four = replicas(4)

    assert drain(four, 3, {"00002-0": 1, "00002-3": 2}) == ("00002-2", "00002-1", "00002-0")


def walk(looks: list[tuple[float, Fleet]]) -> Scaled:
    memory, found = Memory(), Scaled()
    for now, one in looks:
        found = scale(one, memory, now)
        memory = found.memory
    return found


def at(now: float, one: Fleet) -> Fleet:
    """*one* as it looks when every agent reported at *now*."""
    agents = {name: msgspec.structs.replace(agent, received=now) for name, agent in one.agents.items()}
    return msgspec.structs.replace(one, agents=agents)


IDLE = fleet(revisions=(state(wanted=1),), replicas=replicas(1))


def test_the_last_replica_goes_after_the_cooldown() -> None:
    looks = [(NOW + s, at(NOW + s, IDLE)) for s in range(301)]

    assert walk(looks[:300]).actions == ()
    assert (
        walk(looks[:300]).explanations[NEW].line == "1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 1 s"
    )
    gone = walk(looks).actions[0]
    assert (gone.replicas, gone.drain, gone.because) == (0, ("00002-0",), "idle for 300 s")


@pytest.mark.parametrize(
    ("name", "blind", "because"),
    [
        ("an agent is silent", lambda one: fleet(FakeAgent(role="proxy"), revisions=one.revisions,
         replicas=one.replicas), "held: proxy-0 has not reported yet"),
        ("a reading is old", lambda one: at(NOW - 11 + 300, one), "held: the last reading is 11 s old"),
        ("nobody reads a trigger", lambda one: fleet(proxy(), revisions=one.revisions, replicas=one.replicas),
         "held: no proxy reads f.topic"),
        ("a trigger is blind", lambda one: fleet(proxy(reading(blind="bus away")), revisions=one.revisions,
         replicas=one.replicas), "held: f.topic: bus away"),
        ("an agent left", lambda one: msgspec.structs.replace(one, agents={"proxy-0": one.agents["proxy-0"]}),
         "held: gateway-0 is away"),
    ],
)  # fmt: skip
def test_whoever_cannot_see_holds(name: str, blind: object, because: str) -> None:
    calm = [(NOW + s, at(NOW + s, IDLE)) for s in range(300)]
    dark = blind(at(NOW + 300, IDLE))  # type: ignore[operator]  # a lambda of the table
    if name != "a reading is old":
        dark = at(NOW + 300, dark)
    found = walk([*calm, (NOW + 300, dark)])

    assert found.actions == ()
    assert found.explanations[NEW].because == because


def test_after_a_start_nothing_is_scaled_in_until_all_have_reported() -> None:
    one = fleet(revisions=(state(wanted=1, cooldown=timedelta()),), replicas=replicas(1), started=NOW,
                expected=frozenset({"proxy-0", "proxy-1"}))  # fmt: skip

    assert walk([(NOW + 29, at(NOW + 29, one))]).actions == ()
    assert walk([(NOW + 31, at(NOW + 31, one))]).actions[0].replicas == 0


def test_an_agent_that_left_for_good_is_forgotten() -> None:
    alone = fleet(revisions=(state(wanted=1, cooldown=timedelta(seconds=1)),), replicas=replicas(1))
    gone = msgspec.structs.replace(alone, agents={"proxy-0": alone.agents["proxy-0"]})
    looks = [(NOW, at(NOW, alone)), *((NOW + s, at(NOW + s, gone)) for s in range(1, 18))]

    assert walk(looks[:10]).actions == ()
    assert walk(looks).actions[0].replicas == 0


def test_blindness_reaches_the_condition_after_a_while() -> None:
    one = fleet(proxy(reading(blind="bus away")))

    assert scale(one, Memory(), NOW).scaling == {"default/f": ""}
    assert walk([(NOW, one), (NOW + 6, at(NOW + 6, one))]).scaling == {
        "default/f": "ReadingFailed: held: f.topic: bus away"
    }


def test_at_max_reaches_the_condition() -> None:
    full = proxy(reading(lag=9000, runnable=50, in_flight=1, handler_us=900_000, done=9))
    one = fleet(full, revisions=(state(wanted=1, max=1),), replicas=replicas(1))

    assert scale(one, Memory(), NOW).scaling["default/f"].startswith("AtMax: 1 replicas")


def test_the_scaler_remembers_between_two_looks() -> None:
    scaler = Scaler(lambda: IDLE.agents, lambda: [snapshot()], started=NOW)
    observed = Observed(revisions=IDLE.revisions, replicas=IDLE.replicas)

    assert [scaler.decide(observed, NOW + seconds) for seconds in (0, 5)] == [(), ()]
    assert scaler.explanations[NEW].next == "to zero in 4 min 55 s"
    assert scaler.requeue == timedelta(seconds=295)
    assert scaler.scaling == {"default/f": ""}


def test_a_refused_scale_in_is_asked_for_again_after_a_second() -> None:
    retired = fleet(revisions=(state(OLD, wanted=1, cooldown=timedelta()), state()), replicas=replicas(1, OLD))
    memory, asked = Memory(), []
    for tick in range(5):
        scaled = scale(retired, memory, NOW + tick / 2)
        memory = scaled.memory
        asked.append(len(scaled.actions))

    assert asked == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "1 s"), (59, "59 s"), (60, "1 min"), (290, "4 min 50 s"), (3600, "1 h"), (5400, "1 h 30 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
