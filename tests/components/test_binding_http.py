"""bindings.http: what is asked of the other side, what comes back, and what is not asked at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from api.addresses import denied
from proxy.components.protocols import (
    ComponentError,
    ComponentFailed,
    MetadataIllegal,
    OperationUnknown,
    OutputBinding,
    TooMuch,
)
from replicas.http import HttpClient
from tests.certificates import Authority
from tests.components.site import Asked, Reply, Site, site
from tests.components.world import app, component, opened

Body = Callable[[Site, OutputBinding], Awaitable[None]]


def on(body: Body, handler: Callable[[Asked], Reply] = lambda _: Reply(), path: str = "", **metadata: Any) -> None:
    async def main() -> None:
        async with site(handler) as here:
            given = {"url": f"http://127.0.0.1:{here.port}{path}", **metadata}
            async with opened(component("web", "bindings.http", given)) as components:
                await body(here, components.binding(app(), "web"))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("operation", "verb", "sends"),
    [
        ("create", "POST", True),
        ("post", "POST", True),
        ("put", "PUT", True),
        ("patch", "PATCH", True),
        ("get", "GET", False),
        ("head", "HEAD", False),
        ("delete", "DELETE", False),
        ("options", "OPTIONS", False),
        ("trace", "TRACE", False),
    ],
)
def test_operations(operation: str, verb: str, sends: bool) -> None:
    async def body(here: Site, binding: OutputBinding) -> None:
        answer = await binding.invoke(operation, b'{"n": 1}', {"path": "/a/b?c=d", "X-Own": "1", "small": "2"})
        (asked,) = here.asked
        assert (asked.verb, asked.target, asked.body) == (verb, "/base/a/b?c=d", b'{"n": 1}' if sends else b"")
        assert asked.headers["host"] == f"127.0.0.1:{here.port}"
        assert asked.headers["x-own"] == "1"
        assert asked.headers["accept"] == "application/json; charset=utf-8"
        assert asked.headers.get("content-type", "") == ("application/json; charset=utf-8" if sends else "")
        assert "small" not in asked.headers
        assert answer.data == (b"" if verb == "HEAD" else b"hello")
        assert answer.metadata == {
            "statusCode": "201",
            "status": "201 Created",
            "X-Seen": "a, b",
            "Content-Length": "5",
        }

    on(body, lambda _: Reply(201, (("x-seen", "a"), ("X-Seen", "b")), b"hello"), "/base/")


def test_headers_that_are_given() -> None:
    async def body(here: Site, binding: OutputBinding) -> None:
        given = {
            "Content-Type": "text/plain",
            "Accept": "*/*",
            "Host": "evil",
            "Content-Length": "99",
            "Connection": "x",
        }
        await binding.invoke("post", b"text", {**given, "traceparent": "00-1", "tracestate": "a=b"})
        headers = here.asked[0].headers
        assert (headers["content-type"], headers["accept"], headers["content-length"]) == ("text/plain", "*/*", "4")
        assert (headers["host"], headers["traceparent"], headers["tracestate"]) == (
            f"127.0.0.1:{here.port}",
            "00-1",
            "a=b",
        )
        assert headers["x-token"] == "secret"
        assert "connection" not in headers

    on(body, securityToken="secret", securityTokenHeader="X-Token")


@pytest.mark.parametrize(
    "metadata",
    [
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
        {"path": "/a#b"},
        {"path": "/ü"},
        {"X-Split": "a\r\nb"},
        {"X Split": "a"},
        {"X-Zero": "\0"},
    ],
)
def test_what_would_be_another_request(metadata: dict[str, str]) -> None:
    async def body(here: Site, binding: OutputBinding) -> None:
        with pytest.raises(MetadataIllegal):
            await binding.invoke("get", b"", metadata)
        assert here.asked == []

    on(body)


def test_an_operation_that_there_is_not() -> None:
    async def body(here: Site, binding: OutputBinding) -> None:
        with pytest.raises(
            OperationUnknown, match=r"does not support operation list\. supported operations:create get head"
        ):
            await binding.invoke("list", b"", {})
        with pytest.raises(OperationUnknown, match="none was given"):
            await binding.invoke("", b"", {})
        assert here.asked == []

    on(body)


def test_other_answers_are_errors_unless_they_are_wanted() -> None:
    async def body(_: Site, binding: OutputBinding) -> None:
        with pytest.raises(ComponentError, match="received status code 404: not here"):
            await binding.invoke("get", b"", {})
        answer = await binding.invoke("get", b"", {"errorIfNot2XX": "false"})
        assert (answer.data, answer.metadata["status"]) == (b"not here", "404 Not Found")

    async def lenient(_: Site, binding: OutputBinding) -> None:
        assert (await binding.invoke("get", b"", {})).metadata["statusCode"] == "404"
        with pytest.raises(ComponentError):
            await binding.invoke("get", b"", {"errorIfNot2XX": "true"})

    on(body, lambda _: Reply(404, (), b"not here"))
    on(lenient, lambda _: Reply(404, (), b"not here"), errorIfNot2XX="false")


def test_an_answer_that_is_too_long() -> None:
    async def body(_: Site, binding: OutputBinding) -> None:
        with pytest.raises(TooMuch, match="see maxResponseBodySize"):
            await binding.invoke("get", b"", {})

    on(body, lambda _: Reply(200, (), b"x" * 1025), maxResponseBodySize="1Ki")


def test_an_answer_that_does_not_come() -> None:
    async def body(_: Site, binding: OutputBinding) -> None:
        with pytest.raises(ComponentFailed, match=r"did not answer within 0\.05 s; see responseTimeout"):
            await binding.invoke("get", b"", {})

    on(body, lambda _: Reply(hang=True), responseTimeout="50ms")


@pytest.mark.parametrize(
    ("place", "wanted"),
    [("/there", "200"), ("http://127.0.0.1:{port}/there", "200"), ("http://localhost:{port}/there", "302")],
)
def test_redirects_stay_on_their_host(place: str, wanted: str) -> None:
    ports: list[int] = []

    def handler(asked: Asked) -> Reply:
        if asked.target == "/there":
            return Reply(200, (), b"found")
        return Reply(302, (("location", place.format(port=ports[0])),))

    async def body(here: Site, binding: OutputBinding) -> None:
        ports.append(here.port)
        answer = await binding.invoke("get", b"", {"errorIfNot2XX": "false"})
        assert answer.metadata["statusCode"] == wanted
        answer = await binding.invoke("post", b"", {"errorIfNot2XX": "false"})
        assert answer.metadata["statusCode"] == "302", "a POST is not made a GET"

    on(body, handler)


def test_redirects_end() -> None:
    async def body(here: Site, binding: OutputBinding) -> None:
        answer = await binding.invoke("get", b"", {"errorIfNot2XX": "false"})
        assert answer.metadata["statusCode"] == "301"
        assert len(here.asked) == 10

    on(body, lambda _: Reply(301, (("location", "/again"),)))


def test_addresses_are_judged_where_they_are_connected_to() -> None:
    def judge(address: str, *, loopback: bool) -> str:
        return denied(ip_address(address), loopback=loopback)

    async def main() -> None:
        async with site() as here:
            for url, loopback, wanted in (
                (f"http://127.0.0.1:{here.port}", False, "on this substrate loopback is the proxy itself"),
                (f"http://localhost:{here.port}", False, "on this substrate loopback is the proxy itself"),
            ):
                http = HttpClient(denied=partial(judge, loopback=loopback))
                async with opened(component("web", "bindings.http", {"url": url}), http=http) as components:
                    with pytest.raises(ComponentFailed, match=wanted):
                        await components.binding(app(), "web").invoke("get", b"", {})
            assert here.asked == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({"url": "http://169.254.169.254/latest"}, "link-local and metadata addresses take no events"),
        ({"url": "ftp://host"}, "begins with http:// or https://"),
        ({"url": "http://user:hunter2@host"}, "credentials do not stand in an address"),
        ({"url": "http://h", "maxResponseBodySize": "lots"}, r"maxResponseBodySize\]: `lots` is no amount"),
        ({"url": "http://h", "MTLSClientCert": "x"}, "go together"),
        ({"url": "http://h", "securityTokenHeader": "a b"}, "is no name of a header"),
        ({"url": "https://h", "MTLSRootCA": "/nowhere"}, "neither PEM nor a file"),
    ],
)
def test_metadata_that_do_not_hold(metadata: dict[str, str], wanted: str) -> None:
    async def main() -> None:
        async with opened(component("web", "bindings.http", {**metadata})) as components:
            with pytest.raises(ComponentFailed, match=wanted) as failed:
                await components.binding(app(), "web").invoke("get", b"", {})
            assert "hunter2" not in str(failed.value)

    asyncio.run(main())


def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("localhost"), authority.issue("orders")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    for name, text in zip(("cert", "key"), server, strict=True):
        (tmp_path / name).write_text(text)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    (tmp_path / "client.key").write_text(client[1])

    async def main() -> None:
        async with site(lambda _: Reply(200, (), b"in"), secure=context) as here:
            url = f"https://localhost:{here.port}/"
            good = {
                "MTLSRootCA": authority.ca,
                "MTLSClientCert": client[0],
                "MTLSClientKey": str(tmp_path / "client.key"),
            }
            async with opened(
                component("good", "bindings.http", {"url": url, **good}),
                component("stranger", "bindings.http", {"url": url}),
            ) as components:
                assert (await components.binding(app(), "good").invoke("get", b"", {})).data == b"in"
                with pytest.raises(ComponentFailed):
                    await components.binding(app(), "stranger").invoke("get", b"", {})

    asyncio.run(main())
