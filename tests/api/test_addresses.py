"""Addresses of receivers: which are refused as written, and which machines are never connected to."""

from __future__ import annotations

import io
from ipaddress import ip_address

import pytest

from api import addresses
from api.documents import read
from api.errors import InvalidInput


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://localhost/a?b=1",
        "http://[::1]:80/",
        "http://10.0.0.1",
        "http://192.168.1.2:9/x",
        "https://x.y.svc.cluster.local:8443/p",
        "http://under_score/",
    ],
)
def test_takes(url: str) -> None:
    assert addresses.defect(url) == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://h", "http://"),
        ("file:///etc/passwd", "http://"),
        ("//h", "http://"),
        ("http://user@h/", "credentials"),
        ("http://user:secret@h/", "credentials"),
        ("http://h\r\nx: y/", "control"),
        ("http://h /", "blanks"),
        ("http:///x", "no host"),
        ("http://h:0/", "port"),
        ("http://h:99999/", "Port"),
        ("http://h/#f", "fragment"),
        ("http://a..b/", "DNS"),
        ("http://h/" + "a" * 3000, "longer"),
        ("http://169.254.169.254/latest", "metadata"),
        ("http://0xA9FEA9FE/", "four decimal"),
        ("http://2852039166/", "four decimal"),
        ("http://127.1/", "four decimal"),
        ("http://0251.0376.0251.0376/", "four decimal"),
        ("http://[::ffff:169.254.169.254]/", "metadata"),
        ("http://[64:ff9b::a9fe:a9fe]/", "metadata"),
        ("http://[2002:a9fe:a9fe::]/", "metadata"),
        ("http://[fe80::1]/", "link-local"),
        ("http://0.0.0.0/", "one machine"),
        ("http://[::]/", "one machine"),
        ("http://224.0.0.1/", "one machine"),
        ("http://255.255.255.255/", "one machine"),
        ("http://[v1.x]/", "address"),
    ],
)
def test_refuses(url: str, says: str) -> None:
    assert says in addresses.defect(url)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"])
def test_loopback_is_a_matter_of_the_substrate(text: str) -> None:
    assert addresses.denied(ip_address(text), loopback=True) == ""
    assert "loopback" in addresses.denied(ip_address(text), loopback=False)


def test_apply_names_the_field() -> None:
    text = (
        "apiVersion: events.openfunction.io/v1alpha1\nkind: Trigger\nmetadata: {name: t}\nspec:\n"
        "  inputs: {a: {eventSource: e, event: f}}\n"
        "  subscribers: [{sink: {uri: 'http://h'}, deadLetterSink: {uri: 'http://u:p@h'}}]\n"
    )
    with pytest.raises(InvalidInput) as raised:
        read(["-"], stdin=io.BytesIO(text.encode()))

    (problem,) = raised.value.problems
    assert (problem.code, problem.path) == ("E113", "spec.subscribers[0].deadLetterSink.uri")
    assert "u:p" not in problem.message
