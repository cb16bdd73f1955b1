"""The types that there are: each complete, found by name, and told of where a name is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api.meta import SecretKeyRef
from api.schema import described
from proxy.components.declaration import rows
from proxy.components.reference import HEADINGS
from proxy.components.registry import LATER, TYPES, find, known, notes, problems
from tests.components.world import component

UNKNOWN = "E128 spec.type: there is no component type "


@pytest.mark.parametrize("declared", TYPES.values(), ids=lambda one: str(one.type))
def test_every_type_is_complete(declared: object) -> None:
    one = TYPES[getattr(declared, "type", "")]
    assert one.type == one.type.lower()
    assert one.kind in HEADINGS
    assert any((one.open, one.bus, one.source))
    assert bool(one.operations) == (one.kind == "bindings" and one.open is not None)
    assert described(one.metadata).text
    docs = described(one.metadata).fields
    assert [row.attribute for row in rows(one.metadata) if not docs.get(row.attribute)] == []
    names = [name.lower() for row in rows(one.metadata) for name in (row.name, *row.aliases)]
    names += [name.lower() for name in (*one.metadata.NOTED, *one.metadata.REFUSED)]
    assert len(set(names)) == len(names)


def test_finding() -> None:
    assert find("state.redis", "v1") is TYPES["state.redis"]
    assert find("State.Redis", "V1") is TYPES["state.redis"]
    assert find("state.redis", "") is TYPES["state.redis"]
    assert find("state.redis", "v2") is None
    assert find("state.nothing") is None
    assert known("configuration") == ["configuration.redis"]
    assert not set(LATER) & set(known())


@pytest.mark.parametrize(
    ("type_", "version", "metadata", "wanted"),
    [
        ("state.rediss", "v1", {}, UNKNOWN + "`state.rediss`, did you mean `state.redis`?"),
        ("state.oracle", "v1", {}, UNKNOWN + "`state.oracle`; there is state.in-memory, "),
        ("workflow.dapr", "v1", {}, UNKNOWN + "`workflow.dapr`; there is bindings.cron, "),
        ("pubsub.rabbitmq", "v1", {}, UNKNOWN + "`pubsub.rabbitmq` (use pubsub.jetstream"),
        ("state.redis", "v9", {"redisHost": "h"}, "E128 spec.version: state.redis has no version `v9`; it has v1"),
        ("state.redis", "v1", {}, "E119 spec.metadata[redisHost]: it is missing"),
    ],
)  # fmt: skip
def test_problems(type_: str, version: str, metadata: dict[str, str], wanted: str) -> None:
    declared = component("store", type_, {**metadata})
    (problem,) = problems(type(declared)(**{**_fields(declared), "version": version}))
    assert str(problem).startswith(wanted)
    assert len(str(problem)) < 500


def _fields(declared: object) -> dict[str, object]:
    return {name: getattr(declared, name) for name in type(declared).__struct_fields__}  # type: ignore[attr-defined]


def test_what_is_set_and_changes_nothing_is_told() -> None:
    metadata = {"redisHost": SecretKeyRef(name="a", key="b"), "redisMaxRetries": "5"}
    declared = component("store", "state.redis", {**metadata})
    assert problems(declared) == ()
    assert [name for name, _ in notes(declared)] == ["redisMaxRetries"]


@pytest.mark.parametrize(
    ("type_", "metadata", "wanted"),
    [
        ("state.redis", {"redisHost": "h", "keyPrefx": "x"}, "unknown metadata, did you mean `keyPrefix`?"),
        ("state.in-memory", {"url": "x"}, "unknown metadata; it takes keyPrefix"),
        ("state.redis", {"redisHost": "h", "a" * 500: "x"}, "unknown metadata; it takes "),
    ],
)
def test_what_no_type_knows_is_told_and_goes_on(type_: str, metadata: dict[str, str], wanted: str) -> None:
    """Files written for Dapr come as they are, and it passes over what a type does not know."""
    declared = component("store", type_, {**metadata})
    assert problems(declared) == ()
    ((_, reason),) = notes(declared)
    assert reason.startswith(wanted)


def test_knowing_the_types_loads_no_client() -> None:
    """The controller asks the registry, and no process pays for clients of components that it does not have."""
    script = (
        "import sys, proxy.components.components\n"
        "print([name for name in ('redis', 'nats', 'aiokafka', 'paho', 'grpc', 'sqlite3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[]", "['sqlite3']"}
