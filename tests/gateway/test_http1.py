"""Requests as raw bytes: rows 25-38 of the bad-input corpus, and chunked bodies in every cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.http1 import HEAD_LIMIT, Chunks, check_start, parse_head

GET = b"GET /function/default/hello HTTP/1.1\r\n"
POST = b"POST /function/default/hello HTTP/1.1\r\nhost: a\r\n"

REFUSED = [
    (POST + b"content-length: 5\r\ntransfer-encoding: chunked", 400),
    (POST + b"content-length: 5\r\ncontent-length: 5", 400),
    (POST + b"content-length: 5, 5", 400),
    (POST + b"content-length: +5", 400),
    (POST + b"content-length: -5", 400),
    (POST + b"content-length: 0x5", 400),
    (POST + b"content-length: ", 400),
    (POST + b"content-length : 5", 400),
    (POST + b"content-length: " + b"9" * 30, 400),
    (POST + b"transfer-encoding: xchunked", 501),
    (POST + b"transfer-encoding: gzip, chunked", 501),
    (POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
    (POST + b"transfer-encoding: identity", 501),
    (b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked", 400),
    (GET + b"host: a\nx: y", 400),
    (GET + b"host: a\r\nx: y\r\n folded", 400),
    (GET + b"host: a\r\nx: a\x00b", 400),
    (GET + b"host: a\r\nx: a\rb", 400),
    ("GET / HTTP/1.1\r\nhost: a\r\nnäme: b".encode(), 400),
    (GET + b"host: a\r\n: b", 400),
    (GET + b"host: a\r\nno colon", 400),
    (GET + b"x: y", 400),
    (GET + b"host: a\r\nhost: a", 400),
    (GET + b"host: a/b", 400),
    (GET + b"host: user@a", 400),
    (GET + b"host: a b", 400),
    (GET + b"host: ", 400),
    (GET + b"host: a\r\n" + b"\r\n".join(b"h%d: v" % n for n in range(1000)), 431),
    (GET + b"host: a\r\ncookie: " + b"c" * HEAD_LIMIT, 431),
    (b"GET /a#b HTTP/1.1\r\nhost: a", 400),
    (b"GET /a\\b HTTP/1.1\r\nhost: a", 400),
    (b"GET /a b HTTP/1.1\r\nhost: a", 400),
    (b"GET\t/a HTTP/1.1\r\nhost: a", 400),
    (b"GET  /a HTTP/1.1\r\nhost: a", 400),
    (b"GET a HTTP/1.1\r\nhost: a", 400),
    ("GET /ä HTTP/1.1\r\nhost: a".encode(), 400),
    (b"GE?T / HTTP/1.1\r\nhost: a", 400),
    (b"BREW / HTTP/1.1\r\nhost: a", 501),
    (b"TRACE / HTTP/1.1\r\nhost: a", 405),
    (b"CONNECT a:80 HTTP/1.1\r\nhost: a", 405),
    (b"PRI * HTTP/2.0", 400),
    (b"GET / HTTP/2.0\r\nhost: a", 505),
    (b"GET / HTTP/1.2\r\nhost: a", 505),
    (b"GET https://a/ HTTP/1.1\r\nhost: a", 400),
    (b"GET http://user@a/ HTTP/1.1\r\nhost: a", 400),
]


@pytest.mark.parametrize(("raw", "status"), REFUSED, ids=[str(raw[:60]) for raw, _ in REFUSED])
def test_what_two_readers_could_read_differently_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(raw)

    assert caught.value.status == status


def test_a_plain_head_is_read() -> None:
    head = parse_head(POST + b"Content-Length: 12 \r\nX-A:b\r\nConnection: close")

    assert (head.method, head.target, head.query, head.host) == ("POST", b"/function/default/hello", b"", b"a")
    assert head.length == 12
    assert not head.keep_alive
    assert head.header(b"x-a") == b"b"


def test_the_absolute_form_names_the_host() -> None:
    head = parse_head(b"GET http://b:80/p?q HTTP/1.1\r\nhost: a")

    assert (head.host, head.target, head.query) == (b"b:80", b"/p", b"?q")


def test_the_old_version_needs_no_host_and_keeps_no_connection() -> None:
    head = parse_head(b"GET / HTTP/1.0")

    assert head.old
    assert not head.keep_alive


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\nhost", b"PRI * HTTP/2.0\r\n", b"x" * (HEAD_LIMIT + 1)])
def test_a_head_that_can_never_be_good_is_not_waited_for(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        check_start(raw)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_a_chunked_body_is_the_same_in_every_cut(parts: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nx-trailer: 1\r\n\r\nNEXT"
    chunks, found, rest, at = Chunks(), [], b"", 0
    for size in cuts * len(raw):
        piece, at = raw[at : at + size], at + size
        if chunks.ended:
            rest += piece
            continue
        pieces, left = chunks.feed(piece)
        found += pieces
        rest += left

    assert chunks.ended
    assert b"".join(found) == b"".join(parts)
    assert rest == b"NEXT"


@pytest.mark.parametrize(
    "raw",
    [
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"\r\n",
        b"-1\r\n",
        b"5" * 600,
        b"5;" + b"e" * 300 + b"\r\n",
        b"fffffffffffff\r\n",
        b"0\r\nno colon\r\n",
        b"1\r\na\r\n" * 100_000,
    ],
)
def test_broken_and_wasteful_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        Chunks().feed(raw)

    assert caught.value.status == 400
