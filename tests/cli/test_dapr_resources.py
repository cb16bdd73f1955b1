"""What `evoke dapr run` makes of flags, resource folders and run files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from api.errors import InvalidInput
from api.frames import Notice
from api.meta import Key
from api.model import AppDeclaration, AppSubscription, Snapshot
from cli.dapr import resources, run_file
from cli.dapr.planning import Planned, planned
from cli.dapr.settings import AppRun, BadRun, check
from cli.dapr.sidecar import _tell
from cli.errors import MissingFile

BUS = """
    apiVersion: dapr.io/v1alpha1
    kind: Component
    metadata: {name: bus}
    spec: {type: pubsub.in-memory, version: v1}
"""
ORDERS = """
    apiVersion: dapr.io/v2alpha1
    kind: Subscription
    metadata: {name: orders}
    spec: {pubsubname: bus, topic: orders, routes: {default: /on-order}}
"""


def folder(place: Path, *texts: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (place / f"{number}.yaml").write_text(textwrap.dedent(text))
    return place


def run(name: str, *paths: Path, **more: object) -> AppRun:
    return AppRun(id=name, folder=Path("/"), resources=paths, **more)  # type: ignore[arg-type]  # fields by name


def plan(*apps: AppRun, declared: dict[Key, AppDeclaration] | None = None) -> Planned:
    return planned(resources.load(apps, {}), declared or {}, {}, {})


def topics(snapshot: Snapshot) -> dict[str, str]:
    """Function -> topics that it gets."""
    return {f"{one.backends[0].revision.function} {one.bus.name}": one.subject for one in snapshot.subscriptions}


def test_an_app_of_any_name_is_a_function(tmp_path: Path) -> None:
    found = plan(run("My_Orders.app", folder(tmp_path, BUS, ORDERS), port=6001, protocol="grpc"))

    [app] = found.snapshot.apps
    assert (app.id, app.key, app.protocol) == ("My_Orders.app", Key("default", "my-orders-app"), "grpc")
    assert topics(found.snapshot) == {"my-orders-app bus": "orders"}
    assert found.problems == ()


def test_what_the_app_says_replaces_what_is_declared(tmp_path: Path) -> None:
    app = run("shop", folder(tmp_path, BUS, ORDERS), port=6001)
    said = AppDeclaration(subscriptions=(AppSubscription(pubsub="bus", topic="orders", path="/mine"),))
    found = plan(app, declared={app.key: said})

    assert [one.path for one in found.snapshot.subscriptions] == ["/mine"]


def test_apps_have_the_resources_of_their_own_folders(tmp_path: Path) -> None:
    one = run("one", folder(tmp_path / "one", BUS, ORDERS), port=6001)
    other = run("other", folder(tmp_path / "other", BUS, ORDERS.replace("orders", "bills")), port=6002)
    found = plan(one, other).snapshot

    assert [(component.owner, component.name) for component in found.components] == [("one", "bus"), ("other", "bus")]
    assert topics(found) == {"one one/bus": "orders", "other other/bus": "bills"}


def test_a_folder_of_all_apps_is_read_once(tmp_path: Path) -> None:
    shared = folder(tmp_path, BUS, ORDERS)
    found = plan(run("one", shared, port=6001), run("other", shared, port=6002)).snapshot

    assert [component.key.name for component in found.components] == ["bus"]
    assert topics(found) == {"one bus": "orders", "other bus": "orders"}


def test_other_kinds_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    strange = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: x}\nspec: {baseUrl: 'http://x'}\n"
    assert len(plan(run("a", folder(tmp_path, BUS, strange))).snapshot.components) == 1


def test_the_configuration_that_dapr_init_writes(tmp_path: Path) -> None:
    file = folder(
        tmp_path / "home",
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: daprConfig}\n"
        "spec: {tracing: {samplingRate: '1', zipkin: {endpointAddress: 'http://localhost:9411/api/v2/spans'}}}\n",
    )
    found = plan(run("shop", folder(tmp_path, BUS, ORDERS), config=(file / "0.yaml",), port=6001))

    assert topics(found.snapshot) == {"shop bus": "orders"}


def test_a_component_of_any_name(tmp_path: Path) -> None:
    texts = [text.replace("name: bus", "name: Order_pubSub") for text in (BUS, ORDERS)]
    found = plan(run("shop", folder(tmp_path, *texts), port=6001))

    assert topics(found.snapshot) == {"shop Order_pubSub": "orders"}


def test_a_component_with_a_fault_says_where(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        resources.load([run("a", folder(tmp_path, BUS.replace("version", "versio")))])

    assert "0.yaml" in str(caught.value)


def test_an_unknown_type_is_a_problem(tmp_path: Path) -> None:
    found = plan(run("a", folder(tmp_path, BUS.replace("in-memory", "in-memry"))))

    assert any("pubsub.in-memory" in problem for problem in found.problems), found.problems


def test_environment_references_are_the_users_own(tmp_path: Path) -> None:
    text = BUS.replace(
        "pubsub.in-memory, version: v1", "state.redis, version: v1, metadata: [{name: redisHost, envRef: HOST}]"
    )
    found = resources.load([run("a", folder(tmp_path, text))], {"HOST": "localhost:1"})
    [component] = [one.spec for one in found if one.kind == "Component"]

    assert [(item.name, item.value, item.env_ref) for item in component.metadata] == [
        ("redisHost", "localhost:1", None)
    ]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        resources.load([run("a", tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("apps", "said"),
    [
        ((run("a"), run("a")), "app id a is given twice"),
        ((run("a", port=1), run("b", port=1)), "app port 1 is given twice"),
        ((run("a", http=5, grpc=6), run("b", http=6)), "port 6 is given twice"),
        ((run("A-b"), run("a.b")), "differ in capitals"),
    ],
)
def test_apps_that_cannot_run_beside_each_other(apps: tuple[AppRun, ...], said: str) -> None:
    with pytest.raises(BadRun, match=said):
        check(apps)


RUN_FILE = """
    version: 1
    common:
      resourcesPath: ./shared
      env: {COLOUR: blue, SIZE: 3}
      appLogDestination: file
    apps:
      - appDirPath: ./one
        appPort: 6001
        daprHTTPPort: 3601
        command: ["python3", "app.py"]
        env: {COLOUR: red}
      - appDirPath: ./two
        appID: second
        appProtocol: grpc
        resourcesPath: ./own
        command: [node, app.js]
"""


def test_a_run_file(tmp_path: Path) -> None:
    for name in ("one", "two/own", "shared"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dapr.yaml").write_text(textwrap.dedent(RUN_FILE))
    one, two = run_file.load(run_file.find(tmp_path))

    assert (one.id, one.command, one.port, one.http) == ("one", ("python3", "app.py"), 6001, 3601)
    assert (one.env, one.resources) == ({"COLOUR": "red", "SIZE": "3"}, (tmp_path / "shared",))
    assert (two.id, two.protocol, two.folder) == ("second", "grpc", tmp_path / "two")
    assert two.resources == (tmp_path / "two" / "own",)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("version: 1", "version: 2", "version 2 is not known"),
        ("appPort: 6001", "appPrt: 6001", r"apps\[0\].appPrt is not known"),
        ("appPort: 6001", "appPort: many", "Expected `int`"),
        ("appProtocol: grpc", "appProtocol: grpcs", "grpcs is not supported"),
        ("      env: {COLOUR: blue, SIZE: 3}", "      environment: {}", "common.environment is not known"),
        ("version: 1", "version: [", "dapr.yaml"),
    ],
)
def test_a_run_file_with_a_fault_says_where(tmp_path: Path, before: str, after: str, said: str) -> None:
    for name in ("one", "two/own", "shared"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dapr.yaml").write_text(textwrap.dedent(RUN_FILE.replace(before, after)))
    with pytest.raises(BadRun, match=said):
        run_file.load(tmp_path / "dapr.yaml")


def test_no_run_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"dapr\.yaml"):
        run_file.find(tmp_path)


@pytest.mark.parametrize(
    ("kind", "level"), [("delivered", "INFO"), ("activation", "INFO"), ("attempt-failed", "WARNING")]
)
def test_what_is_well_is_no_warning(kind: Any, level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dapr")
    _tell(Notice(namespace="default", function="shop", kind=kind, message="started for a call in 356 ms"))

    assert [(record.levelname, record.message) for record in caplog.records] == [
        (level, f"app shop: {kind}: started for a call in 356 ms")
    ]
