"""Where a request goes, by path, host and method."""

from __future__ import annotations

import msgspec
import pytest

from api.meta import Key, RevisionKey
from api.model import Backend, Match, Route, Snapshot
from gateway.errors import Rejected
from gateway.routes import Router, normal_path
from replicas.backends import choose


def route(name: str, namespace: str = "default", **fields: object) -> Route:
    return Route(key=Key(namespace, name), **fields)  # type: ignore[arg-type] # fields of Route


ROUTER = Router(
    [
        Snapshot(
            namespace="default",
            routes=(
                route("hello", hosts=("hello.example",)),
                route("api", hosts=("shop.example",), matches=(Match(path="/api"),)),
                route("v2", hosts=("shop.example",), matches=(Match(path="/api/v2/"),)),
                route("root", hosts=("shop.example",), matches=(Match(path="/", kind="exact", methods=("GET",)),)),
                route("wild", hosts=("*.tenants.example",)),
            ),
        ),
        Snapshot(namespace="other", routes=(route("hello", "other"),)),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "function", "rest"),
    [
        ("localhost:8080", "/function/default/hello", "default/hello", "/"),
        ("127.0.0.1", "/function/default/hello/", "default/hello", "/"),
        ("[::1]:8080", "/function/other/hello/a/b", "other/hello", "/a/b"),
        ("HELLO.example.", "/function/other/hello", "default/hello", "/function/other/hello"),
        ("hello.other.svc.cluster.local", "/x", "other/hello", "/x"),
        ("hello.other.localhost:80", "/x", "other/hello", "/x"),
        ("shop.example", "/api", "default/api", "/api"),
        ("shop.example", "/api/v1", "default/api", "/api/v1"),
        ("shop.example", "/api/v2/x", "default/v2", "/api/v2/x"),
        ("shop.example", "/", "default/root", "/"),
        ("a.tenants.example", "/x", "default/wild", "/x"),
    ],
)
def test_the_way_to_a_function(host: str, path: str, function: str, rest: str) -> None:
    found = ROUTER.resolve(host, path, "GET")

    assert (str(found.route.key), found.path) == (function, rest)


@pytest.mark.parametrize(
    ("host", "path", "method", "status"),
    [
        ("a", "/", "GET", 404),
        ("a", "/function", "GET", 404),
        ("a", "/function/default", "GET", 404),
        ("a", "/function/default/", "GET", 404),
        ("a", "/function/default/Hello", "GET", 404),
        ("a", "/function/default/hello;x", "GET", 404),
        ("a", "/function/ns.other/hello", "GET", 404),
        ("a", "/FUNCTION/default/hello", "GET", 404),
        ("a", "/system/functions", "GET", 404),
        ("a", "/async-function/default/hello", "GET", 405),
        ("shop.example", "/apix", "GET", 404),
        ("shop.example", "/", "POST", 405),
        ("none.default.localhost", "/", "GET", 404),
        ("localhost", "/hello", "GET", 404),
    ],
)
def test_what_leads_nowhere(host: str, path: str, method: str, status: int) -> None:
    with pytest.raises(Rejected) as caught:
        ROUTER.resolve(host, path, method)

    assert caught.value.status == status


def test_what_only_functions_reach_is_not_there() -> None:
    hidden = msgspec.structs.replace(route("hidden", hosts=("hidden.example",)), internal=True)
    router = Router([Snapshot(namespace="default", routes=(hidden,))])

    for host, path in (("a", "/function/default/hidden"), ("hidden.default.localhost", "/"), ("hidden.example", "/")):
        with pytest.raises(Rejected) as caught:
            router.resolve(host, path, "GET")
        assert (caught.value.status, caught.value.message) == (404, "no such function")
    assert not router.claims("hidden.example")


def test_asynchronous_invocations_are_marked() -> None:
    assert ROUTER.resolve("a", "/async-function/default/hello/x", "POST").mode == "async-function"


@pytest.mark.parametrize(
    "path",
    [
        b"/function/../system",
        b"/function/default/hello/..",
        b"/function/default/hello/./a",
        b"/function/%2e%2e/system",
        b"/function/default/hello/%252e%252e/a",
        b"/function/default/hello/%25252E",
        b"/function/default%2fhello",
        b"/function/default/hello/a%5cb",
        b"/function/default/hello/..;x/a",
        b"/function//hello",
        b"//function/default/hello",
        b"/function/default/hello/%00",
        b"/function/default/hello/%zz",
        b"/function/default/hello/%4",
    ],
)
def test_a_path_that_can_be_read_twice_is_refused(path: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        normal_path(path)

    assert caught.value.status == 400


def test_weights_are_shares_of_the_draw() -> None:
    old, new, tagged = (
        Backend(revision=RevisionKey("d", "f", name), weight=weight)
        for name, weight in (("00001", 75), ("00002", 25), ("00003", 0))
    )
    found = [choose((old, new, tagged), n / 100) for n in range(100)]

    assert found.count(old) == 75
    assert found.count(new) == 25
    assert choose((tagged,), 0.5) is None
    assert choose((), 0.0) is None
