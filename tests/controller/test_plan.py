"""plan(): a function from its first apply to its removal, the law that a plan carried out leaves nothing, statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.actions import CancelBuild, Ensure, Observed, Plan, Publish, Remove, Resource, StartBuild
from api.meta import Key, RevisionKey
from api.scaling import Authority
from controller import authority, revisions
from controller.plan import plan, sources
from tests.controller import worlds
from tests.controller.worlds import BUS, DOMAIN, FUNCTION, LISTENER, SECRET, SOURCE, TRIGGER, resource

KEY = Key("default", "f")
FIRST, SECOND, THIRD = (RevisionKey("default", "f", number) for number in ("00001", "00002", "00003"))


def names(made: Plan) -> list[str]:
    return [type(one).__name__ for one in made.actions]


def of(made: Plan, kind: type[Any]) -> list[Any]:
    return [one for one in made.actions if isinstance(one, kind)]


def step(resources: list[Resource], seen: Observed) -> tuple[Plan, Observed]:
    made = plan(worlds.world(resources, seen))
    return made, worlds.apply(made.actions, seen)


def deployed(resources: list[Resource], seen: Observed | None = None) -> Observed:
    """Everything built, checked and published."""
    seen = seen or worlds.observed()
    for _ in range(4):
        _, seen = step(resources, seen)
        seen = worlds.check(worlds.finish_builds(seen))
    made, seen = step(resources, seen)
    assert made.actions == ()
    return seen


def condition(made: Plan, type_: str, kind: str = "Function") -> tuple[str, str, str]:
    (found,) = [
        one for status in made.statuses if status.kind == kind for one in status.conditions if one.type == type_
    ]
    return found.status, found.reason, found.message


def backends(made: Plan) -> list[tuple[str, int]]:
    (published,) = [one.snapshot for one in of(made, Publish) if one.snapshot.namespace == "default"]
    return [(one.revision.revision, one.weight) for one in published.routes[0].backends]


def test_a_function_from_apply_to_traffic() -> None:
    resources, seen = [resource(FUNCTION)], worlds.observed()

    first, seen = step(resources, seen)
    assert names(first) == ["StartBuild", "Publish"]
    assert condition(first, "Built") == ("Unknown", "Building", "the build runs")
    assert backends(first) == []

    idle, seen = step(resources, seen)
    assert idle.actions == ()

    second, seen = step(resources, worlds.finish_builds(seen))
    assert [one.workload.key for one in of(second, Ensure)] == [FIRST]
    assert condition(second, "Available")[:2] == ("Unknown", "Starting")

    third, seen = step(resources, worlds.check(seen))
    assert names(third) == ["Publish"]
    assert backends(third) == [("00001", 100)]
    assert condition(third, "Available")[:2] == ("True", "IdleAtZero")


def test_a_changed_folder_is_a_new_revision_that_gets_traffic_once_it_was_ready() -> None:
    resources = [resource(FUNCTION)]
    seen = worlds.tree(deployed(resources), "/src/f", "sha256:2")

    building, seen = step(resources, seen)
    assert names(building) == ["StartBuild"]
    assert condition(building, "Available")[0] == "True"

    ensuring, seen = step(resources, worlds.finish_builds(seen))
    assert [one.workload.key for one in of(ensuring, Ensure)] == [SECOND]
    assert of(ensuring, Publish) == []

    serving, seen = step(resources, worlds.check(seen))
    assert backends(serving) == [("00002", 100)]
    (retired,) = of(serving, Ensure)
    assert (retired.workload.key, retired.scale.min, retired.scale.cooldown.total_seconds()) == (FIRST, 0, 0)


def test_a_revision_that_cannot_start_leaves_the_last_good_one_in_service() -> None:
    resources = [resource(FUNCTION)]
    seen = worlds.tree(deployed(resources), "/src/f", "sha256:2")
    _, seen = step(resources, seen)
    _, seen = step(resources, worlds.finish_builds(seen))
    made, seen = step(resources, worlds.check(seen, "HandlerError"))

    assert made.actions == ()
    assert condition(made, "Available") == ("False", "HandlerError", "main.py:3: boom; revision 00001 goes on")

    fixed, seen = step(resources, worlds.tree(seen, "/src/f", "sha256:1"))
    assert names(fixed) == ["StartBuild"]
    replaced, seen = step(resources, worlds.finish_builds(seen))
    assert [(type(one).__name__, one.workload.key) for one in of(replaced, Ensure)] == [("Ensure", THIRD)]
    assert of(replaced, Remove) == [Remove(revision=SECOND)]


def test_the_content_before_is_still_a_new_revision() -> None:
    resources = [resource(FUNCTION)]
    seen = deployed(resources, worlds.tree(deployed(resources), "/src/f", "sha256:2"))
    seen = deployed(resources, worlds.tree(seen, "/src/f", "sha256:1"))

    assert sorted(one.key for one in seen.revisions) == [FIRST, SECOND, THIRD]
    assert len({one.digest for one in seen.revisions}) == 2


def test_a_build_that_is_no_longer_asked_for_is_canceled() -> None:
    resources = [resource(FUNCTION)]
    _, seen = step(resources, worlds.observed())
    made, seen = step(resources, worlds.tree(seen, "/src/f", "sha256:2"))
    assert names(made) == ["CancelBuild", "StartBuild"]

    gone, _ = step([], seen)
    assert names(gone) == ["CancelBuild", "Publish"]


def test_a_failed_build_is_not_tried_again_until_something_changes() -> None:
    resources = [resource(FUNCTION)]
    _, seen = step(resources, worlds.observed())
    made, seen = step(resources, worlds.finish_builds(seen, "BuildFailed"))

    assert made.actions == ()
    assert condition(made, "Built") == ("False", "BuildFailed", "boom")


def test_a_folder_that_is_not_there_is_named() -> None:
    seen = worlds.observed(trees={})
    made, _ = step([resource(FUNCTION)], seen)

    assert names(made) == ["Publish"]
    assert condition(made, "Built")[:2] == ("False", "SourceNotFound")
    far = msgspec.structs.replace(seen, capabilities=frozenset({"images"}))
    assert condition(plan(worlds.world([resource(FUNCTION)], far)), "Built")[1] == "SourceIsLocal"


def test_scale_edits_make_no_revision() -> None:
    seen = deployed([resource(FUNCTION)])
    made, seen = step([resource(FUNCTION, serving__scaleOptions={"minReplicas": 1, "maxReplicas": 3})], seen)

    (ensure,) = made.actions
    assert (ensure.workload.key, ensure.scale.min, ensure.scale.max) == (FIRST, 1, 3)


def test_pause_and_bounds_come_from_annotations() -> None:
    notes = {authority.PAUSED: "2", authority.MIN: "1", authority.MAX: "4"}
    made, _ = step([resource(FUNCTION, annotations=notes)], deployed([resource(FUNCTION)]))

    (ensure,) = made.actions
    scale = ensure.scale
    assert (scale.authority, scale.paused_at, scale.min, scale.max) == (Authority.PAUSED, 2, 1, 4)
    assert condition(made, "Scaling")[:2] == ("False", "Paused")


def test_a_deleted_function_takes_everything_with_it() -> None:
    made, seen = step([], deployed([resource(FUNCTION)]))

    assert names(made) == ["Publish", "Remove"]
    assert of(made, Publish)[0].snapshot.routes == ()
    assert seen.revisions == ()


def test_a_spec_that_does_not_hold_touches_nothing() -> None:
    seen = deployed([resource(FUNCTION)])
    broken = resource(FUNCTION, workloadRuntime="WasmEdge")
    made, _ = step([broken], worlds.tree(seen, "/src/f", "sha256:2"))

    assert made.actions == ()
    assert condition(made, "Accepted")[:2] == ("False", "NotYet")


def test_old_revisions_go_but_never_one_that_serves_or_runs() -> None:
    limited = [resource(FUNCTION, revisionHistoryLimit=2)]
    seen = deployed(limited)
    for number in range(2, 5):
        seen = worlds.running(seen, FIRST)
        seen = deployed(limited, worlds.tree(seen, "/src/f", f"sha256:{number}"))
    assert [one.key.revision for one in sorted(seen.revisions, key=lambda one: one.key)] == ["00001", "00003", "00004"]

    made, _ = step(limited, worlds.running(seen))
    assert made.actions == (Remove(revision=FIRST),)


def test_a_rollback_is_the_old_content_as_the_next_revision_until_the_next_change() -> None:
    plain = resource(FUNCTION)
    seen = deployed([plain], worlds.tree(deployed([plain]), "/src/f", "sha256:2"))
    known = revisions.of(KEY, seen.revisions)
    back = resource(FUNCTION, annotations={revisions.ROLLBACK: revisions.rollback_mark("00001", known, {})})

    seen = deployed([back], seen)
    known = revisions.of(KEY, seen.revisions)
    assert [one.key for one in known] == [FIRST, SECOND, THIRD]
    assert known[2].digest == known[0].digest

    seen = deployed([back], worlds.tree(seen, "/src/f", "sha256:3"))
    newest = revisions.of(KEY, seen.revisions)[-1]
    assert newest.key.revision == "00004"
    assert newest.digest not in {one.digest for one in known}


def test_traffic_is_split_over_revisions_that_were_ready() -> None:
    plain = resource(FUNCTION)
    seen = deployed([plain], worlds.tree(deployed([plain]), "/src/f", "sha256:2"))
    shares = [{"revision": "00001", "weight": 90}, {"revision": "latest", "weight": 10}]
    made, _ = step([resource(FUNCTION, serving__traffic=shares)], seen)

    assert backends(made) == [("00001", 90), ("00002", 10)]


def test_events_reach_the_backends_of_their_function() -> None:
    resources = [resource(text) for text in (LISTENER, SOURCE, TRIGGER)]
    seen = deployed(resources)
    (published,) = [
        one.snapshot for one in of(plan(worlds.world(resources, msgspec.structs.replace(seen, snapshots={}))), Publish)
    ]

    assert {one.trigger for one in published.subscriptions} == {"listener", "readings", "hot"}
    for one in published.subscriptions:
        assert [backend.revision for backend in one.backends] == [RevisionKey("default", "listener", "00001")]
    assert [one.subject for one in published.sources] == ["default.readings.all"]
    assert [one.key.name for one in published.buses] == ["default"]


def test_a_host_belongs_to_the_first_function_by_name() -> None:
    route = {"hostnames": ["f.example"]}
    one = resource(FUNCTION, serving__triggers__http={"route": route})
    two = resource(FUNCTION.replace("name: f}", "name: g}"), serving__triggers__http={"route": route})
    made = plan(worlds.world([one, two]))
    status = {status.key.name: {one.type: one for one in status.conditions} for status in made.statuses}

    assert status["f"]["Routed"].status == "True"
    assert (status["g"]["Routed"].reason, status["g"]["Routed"].status) == ("HostConflict", "False")
    (published,) = of(made, Publish)
    assert {route.key.name: route.hosts for route in published.snapshot.routes} == {"f": ("f.example",), "g": ()}


@pytest.mark.parametrize(
    ("text", "type_", "facts", "wanted"),
    [
        (BUS, "Connected", {}, ("Unknown", "Unassigned")),
        (BUS, "Connected", {"buses": {"default/other": ""}}, ("True", "Connected")),
        (BUS, "Connected", {"buses": {"default/other": "AuthFailed: no"}}, ("False", "AuthFailed")),
        (SOURCE, "Connected", {"sources": {"default/readings.all": ""}}, ("True", "Connected")),
        (SOURCE, "Connected", {"sources": {"default/readings.all": "Unreachable: x"}}, ("False", "Unreachable")),
        (SOURCE, "Subscribed", {}, ("False", "ComponentNotFound")),
        (TRIGGER, "Accepted", {}, ("False", "Invalid")),
        (SECRET, "Accepted", {}, ("True", "Accepted")),
        (DOMAIN, "Accepted", {}, ("False", "NotYet")),
        (LISTENER, "Routed", {}, ("True", "NotExposed")),
        (LISTENER, "Subscribed", {}, ("Unknown", "Unassigned")),
        (FUNCTION, "Routed", {"agents": {}}, ("Unknown", "NoGateway")),
        (FUNCTION, "Scaling", {"scaling": {"default/f": "AtMax: 2 replicas"}}, ("False", "AtMax")),
        (FUNCTION, "Active", {}, ("False", "Idle")),
    ],
)
def test_conditions(text: str, type_: str, facts: dict[str, Any], wanted: tuple[str, str]) -> None:
    made = plan(worlds.world([resource(text)], worlds.observed(**facts)))

    assert condition(made, type_, made.statuses[0].kind)[:2] == wanted


def test_a_trigger_names_every_function_that_is_not_there() -> None:
    sink = "sink: {ref: {kind: Function, name: NAME}}"
    text = TRIGGER.replace(sink.replace("NAME", "listener"), f"{sink}, deadLetterSink: {sink[6:]}").replace(
        "NAME}}, dead", "listener}}, dead"
    )
    there = [resource(SOURCE.split("  sink:")[0]), resource(text.replace("NAME", "undertaker"))]
    made = plan(worlds.world([*there, resource(LISTENER)]))

    status, reason, message = condition(made, "Subscribed", "Trigger")
    assert (status, reason) == ("False", "ComponentNotFound")
    assert message.startswith("function undertaker is not in this namespace")
    assert condition(plan(worlds.world(there)), "Subscribed", "Trigger")[2].startswith("functions listener, undertaker")


def test_a_function_on_a_missing_bus_says_so() -> None:
    lost = resource(LISTENER, serving__triggers={"dapr": [{"name": "nowhere", "type": "pubsub", "topic": "t"}]})
    made = plan(worlds.world([lost]))

    assert condition(made, "Subscribed")[:2] == ("False", "BusNotFound")
    assert of(made, Publish)[0].snapshot.subscriptions == ()


def test_a_cluster_wide_bus_stands_in_every_namespace_under_its_own_name() -> None:
    shared = resource(BUS.replace("kind: EventBus", "kind: ClusterEventBus").replace("{name: other}", "{name: shared}"))
    shared = msgspec.structs.replace(shared, key=Key("", "shared"))
    elsewhere = resource(FUNCTION.replace("{name: f}", "{name: f, namespace: team}"))
    made = plan(worlds.world([shared, elsewhere], worlds.observed(buses={"default/shared": "", "team/shared": ""})))

    found = {one.snapshot.namespace: [str(bus.key) for bus in one.snapshot.buses] for one in of(made, Publish)}
    assert found == {"default": ["default/default", "default/shared"], "team": ["team/default", "team/shared"]}
    assert condition(made, "Connected", "ClusterEventBus")[0] == "True"


def test_a_sink_without_delivery_takes_that_of_its_function() -> None:
    patient = resource(LISTENER, serving__delivery={"retry": 3})
    made = plan(worlds.world([patient, resource(SOURCE)]))
    (published,) = of(made, Publish)

    attempts = {one.trigger: one.delivery.max_attempts for one in published.snapshot.subscriptions}
    assert attempts["readings"] == attempts["listener"] != 10


def test_status_fields_are_openfunctions() -> None:
    resources = [resource(FUNCTION)]
    seen = worlds.running(deployed(resources), FIRST)
    (status,) = plan(worlds.world(resources, seen)).statuses

    assert status.fields["build"]["state"] == "Succeeded"
    assert status.fields["serving"]["state"] == "Running"
    assert status.fields["addresses"] == [{"type": "Internal", "value": "http://127.0.0.1:8080/function/default/f"}]
    (revision,) = status.fields["revisions"]
    assert (revision["name"], revision["ready"], revision["replicas"], revision["traffic"]) == ("f-00001", True, 1, 100)


def test_sources_are_what_observe_needs() -> None:
    assert [(str(key), source.path) for key, source in sources([resource(FUNCTION)])] == [("default/f", "/src/f")]


def test_an_empty_world_has_the_default_bus() -> None:
    (publish,) = plan(worlds.world([])).actions

    assert [bus.key for bus in publish.snapshot.buses] == [Key("default", "default")]


texts = st.lists(st.sampled_from([FUNCTION, LISTENER, SOURCE, TRIGGER, BUS, SECRET, DOMAIN]), unique=True)
events = st.lists(
    st.sampled_from(["finish", "fail", "check", "break", "edit f", "edit listener", "run", "stop", "forget"]),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, events), min_size=1, max_size=4), st.booleans())
def test_a_plan_carried_out_leaves_nothing_to_do(history: list[tuple[list[str], list[str]]], paused: bool) -> None:
    seen = worlds.observed()
    for declared, happened in history:
        notes = {authority.PAUSED: "true"} if paused else {}
        resources = [resource(text, annotations=notes) for text in declared]
        for number, event in enumerate(happened):
            _, seen = step(resources, seen)
            seen = happen(event, number, seen)
        made, seen = step(resources, seen)
        again, _ = step(resources, seen)
        assert again.actions == (), made.actions
        assert again == plan(worlds.world(resources, seen))
        shuffled = plan(worlds.world(reversed(resources), seen))
        assert shuffled.actions == ()


def happen(event: str, number: int, seen: Observed) -> Observed:
    if event.startswith("edit "):
        return worlds.tree(seen, event.replace("edit ", "/src/"), f"sha256:{number}")
    happened: dict[str, Callable[[], Observed]] = {
        "finish": lambda: worlds.finish_builds(seen),
        "fail": lambda: worlds.finish_builds(seen, "BuildFailed"),
        "check": lambda: worlds.check(seen),
        "break": lambda: worlds.check(seen, "HandlerError"),
        "run": lambda: worlds.running(seen, *(one.key for one in seen.revisions)),
        "stop": lambda: worlds.running(seen),
        "forget": lambda: msgspec.structs.replace(seen, builds={}, snapshots={}),
    }
    return happened[event]()


def test_only_builds_and_revisions_of_its_own_are_touched() -> None:
    mine = deployed([resource(FUNCTION), resource(LISTENER)])
    made, _ = step([resource(FUNCTION), resource(LISTENER)], worlds.tree(mine, "/src/f", "sha256:2"))

    assert [one.build.key for one in of(made, StartBuild)] == [KEY]
    assert of(made, CancelBuild) == []


def test_a_bus_names_what_is_not_honoured() -> None:
    made = plan(worlds.world([resource(BUS.replace("{nats:", "{topic: unused, nats:"))]))

    assert condition(made, "Accepted", "EventBus")[:2] == ("False", "NotHere")
