"""Metadata of components: names without case, values by type, and what people read when they do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec
import pytest

from api.meta import SecretKeyRef
from proxy.components.declaration import BadComponent, ComponentMetadata, about, check, noted, rows, written


class Sample(ComponentMetadata, frozen=True, kw_only=True):
    """A type with one field of each kind."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({"actorStateStore": "there are no actors"})
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({"queryIndexes": "use get"})

    redis_host: str
    """Where."""
    client_id: str = msgspec.field(name="clientID", default="")
    redis_password: Annotated[str, about(secret=True)] = ""
    enable_tls: Annotated[bool, about(aliases=("tls",))] = False
    depth: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    ratio: float = 0.5
    timeout: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=3)
    ttl: timedelta | None = None
    hosts: tuple[str, ...] = ()
    kind: Literal["node", "cluster"] = "node"
    separator: Annotated[str, about(verbatim=True)] = ":"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.kind == "cluster" and self.client_id:
            yield "clientID", "a cluster has none"


def test_reading() -> None:
    made = Sample.read(
        {
            "REDISHOST": " here:1 ",
            "clientid": "me",
            "tls": "Yes",
            "depth": "7",
            "timeout": "250",
            "ttl": "1m30s",
            "hosts": "a, b,",
            "kind": "NODE",
            "separator": " ",
            "actorStateStore": "true",
        }
    )
    assert made == Sample(
        redis_host="here:1",
        client_id="me",
        enable_tls=True,
        depth=7,
        timeout=timedelta(milliseconds=250),
        ttl=timedelta(seconds=90),
        hosts=("a", "b"),
        separator=" ",
    )


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "E119 spec.metadata[redisHost]: it is missing"),
        ({"redisHost": ""}, "E111 spec.metadata[redisHost]: it is empty"),
        ({"redisHots": "x"}, "E119 spec.metadata[redisHost]: it is missing; is `redisHots` meant?"),
        ({"redisHost": "y", "queryIndexes": "[]"}, "E199 spec.metadata[queryIndexes]: it is not supported: use get"),
        ({"redisHost": "y", "tls": "si"}, "E111 spec.metadata[tls]: expected true or false, got `si`"),
        ({"redisHost": "y", "tls": "1", "enableTls": "1"}, "E117 spec.metadata[enableTls]: `enableTls` stands twice"),
        ({"redisHost": "y", "depth": "0"}, "E113 spec.metadata[depth]: 0 is outside its bounds: 1 to 100"),
        ({"redisHost": "y", "depth": "1_0"}, "E111 spec.metadata[depth]: expected a whole number, got `1_0`"),
        ({"redisHost": "y", "ratio": "nan"}, "E113 spec.metadata[ratio]: nan is outside its bounds"),
        ({"redisHost": "y", "timeout": "soon"}, "E114 spec.metadata[timeout]: `soon` is no duration"),
        (
            {"redisHost": "y", "kind": "clustre"},
            "E111 spec.metadata[kind]: expected one of cluster, node, got `clustre`",
        ),
        ({"redisHost": "y", "kind": "cluster", "clientID": "x"}, "E113 spec.metadata[clientID]: a cluster has none"),
    ],
)
def test_bad_metadata(options: dict[str, str], wanted: str) -> None:
    with pytest.raises(BadComponent) as caught:
        Sample.read(options)
    assert str(caught.value).startswith(wanted)
    assert "\n".join(map(str, check(Sample, options))).startswith(wanted)


def test_what_is_refused_may_be_switched_off() -> None:
    assert Sample.read({"redisHost": "y", "queryIndexes": ""}) == Sample.read(
        {"redisHost": "y", "queryIndexes": "False"}
    )


def test_a_secret_is_never_repeated() -> None:
    class Pin(ComponentMetadata, frozen=True, kw_only=True):
        pin: Annotated[int, about(secret=True)]

    with pytest.raises(BadComponent) as caught:
        Pin.read({"pin": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "expected a whole number, got the value" in str(caught.value)


def test_a_reference_counts_as_there() -> None:
    reference = SecretKeyRef(name="redis", key="host")
    assert check(Sample, {"redisHost": reference}) == []
    assert check(Sample, {"redisHost": reference, "kind": "cluster", "clientID": "x"}) == []
    assert [problem.code for problem in check(Sample, {"redisHots": reference})] == ["E119"]


def test_what_changes_nothing_is_told() -> None:
    assert noted(Sample, {"redisHost": "y", "actorstatestore": "true"}) == [("actorstatestore", "there are no actors")]


def test_rows_say_what_a_page_needs() -> None:
    by_name = {row.name: row for row in rows(Sample)}
    assert by_name["redisHost"].required
    assert by_name["redisPassword"].secret
    assert by_name["enableTls"].aliases == ("tls",)
    assert written(by_name["timeout"].default) == "3s"
    assert written(by_name["enableTls"].default) == "false"
