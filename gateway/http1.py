"""HTTP/1.1 requests as bytes (RFC 9112), stricter than the RFC where leniency lets two readers disagree.

Pure: no socket, no clock. Whatever is not plainly well-formed is refused, so that nothing ambiguous reaches a function:
both framings at once, a repeated length, folded lines, bare line feeds, spaces before a colon.
"""

from __future__ import annotations

import re

from gateway.errors import BadRequest

HEAD_LIMIT = 32 << 10
"""Bytes of request line and header lines."""
HEADER_COUNT = 128
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REFUSED_METHODS = frozenset({"TRACE", "CONNECT", "TRACK"})

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S{1,16384}) HTTP/(\d\.\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_TARGET = re.compile(rb"/[!$-;=?-\[\]_a-z|~]*")  # visible ASCII without " # < > \ ^ ` { }
_HOST = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
_LENGTH = re.compile(rb"\d{1,18}")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]{0,256})?")


class Head:
    """One request's line and headers; *length* is None for a chunked body, 0 for none."""

    __slots__ = ("headers", "host", "keep_alive", "length", "method", "old", "query", "target")

    def __init__(self, method: str, target: bytes, *, old: bool) -> None:
        self.method = method
        path, mark, query = target.partition(b"?")
        self.target = path
        self.query = mark + query
        """With its question mark; empty without one."""
        self.old = old
        """HTTP/1.0: no chunked reply, no kept connection."""
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case."""
        self.host = b""
        self.length: int | None = 0
        self.keep_alive = not old

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known == name), None)


def check_start(buffer: bytes | bytearray) -> None:
    """Refuse a head that is not complete yet and never will be acceptable."""
    if len(buffer) > HEAD_LIMIT:
        raise BadRequest(431, f"header lines of more than {HEAD_LIMIT} bytes")
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise BadRequest(400, "a line ends with a bare line feed")
    if buffer.startswith(b"PRI "):
        raise BadRequest(400, "HTTP/2 is not spoken here")


def parse_head(raw: bytes) -> Head:
    """Read a head without its final empty line; raises BadRequest."""
    check_start(raw)
    lines = raw.split(b"\r\n")
    if len(lines) > HEADER_COUNT + 1:
        raise BadRequest(431, f"more than {HEADER_COUNT} header lines")
    head = _request_line(lines[0])
    for line in lines[1:]:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadRequest(400, "a header line is malformed")
        head.headers.append((found[1].lower(), found[2].rstrip(b" \t")))
    _set_host(head)
    _set_framing(head)
    return head


def _request_line(line: bytes) -> Head:
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "the request line is malformed")
    method = found[1].decode()
    if found[3] not in {b"1.1", b"1.0"}:
        raise BadRequest(400 if method == "PRI" else 505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if method in REFUSED_METHODS:
        raise BadRequest(405, f"the method {method} is not allowed")
    if method not in METHODS:
        raise BadRequest(501, "the method is not known")
    target, authority = found[2], b""
    if target[:7].lower() == b"http://":  # absolute form: RFC 9112 3.2.2
        authority, slash, path = target[7:].partition(b"/")
        target = b"/" + path if slash else b"/"
    if _TARGET.fullmatch(target) is None:
        raise BadRequest(400, "the request target is malformed")
    head = Head(method, target, old=found[3] == b"1.0")
    head.host = authority
    return head


def _set_host(head: Head) -> None:
    hosts = [value for name, value in head.headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and not head.old):
        raise BadRequest(400, "exactly one Host is expected")
    if not head.host and hosts:
        head.host = hosts[0]
    if any(_HOST.fullmatch(host) is None for host in {*hosts, head.host or b"localhost"}):
        raise BadRequest(400, "the Host is malformed")


def _set_framing(head: Head) -> None:
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in head.headers:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"connection" and b"close" in value.lower():
            head.keep_alive = False
    if len(lengths) + len(codings) > 1:
        raise BadRequest(400, "the body's length is given twice")
    if codings:
        if head.old:
            raise BadRequest(400, "HTTP/1.0 has no transfer-encoding")
        if codings[0].lower() != b"chunked":
            raise BadRequest(501, "only the transfer-encoding chunked is known")
        head.length = None
    elif lengths:
        if _LENGTH.fullmatch(lengths[0]) is None:
            raise BadRequest(400, "the content-length is not a number")
        head.length = int(lengths[0])


class Chunks:
    """Decoder of a chunked body; extensions and trailers are dropped."""

    TINY = 8
    """Mean bytes per chunk below which a long body is refused: its framing costs more than it carries."""
    PATIENCE = 4096
    LINE = 512

    __slots__ = ("_count", "_left", "_line", "_size", "_trailers", "ended")

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = -1  # bytes of the current chunk and its line end; -1: a size line is expected
        self._count = self._size = self._trailers = 0
        self.ended = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the body bytes in *data* and, once ended, what follows the body."""
        found: list[bytes] = []
        while data and not self.ended:
            if self._left > 2:
                piece, data = data[: self._left - 2], data[self._left - 2 :]
                self._left -= len(piece)
                found.append(piece)
                continue
            line, data = self._take_line(data)
            if line is None:
                break
            self._on_line(line)
        return found, data

    def _take_line(self, data: bytes) -> tuple[bytes | None, bytes]:
        end = data.find(b"\n")
        self._line += data if end < 0 else data[: end + 1]
        if len(self._line) > self.LINE:
            raise BadRequest(400, "a chunk's line is too long")
        if end < 0:
            return None, b""
        if not self._line.endswith(b"\r\n"):
            raise BadRequest(400, "a chunk's line ends with a bare line feed")
        line = bytes(self._line[:-2])
        self._line.clear()
        return line, data[end + 1 :]

    def _on_line(self, line: bytes) -> None:
        if self._trailers:
            self._trailers += 1
            self.ended = not line
            if self._trailers > HEADER_COUNT or (line and _HEADER.fullmatch(line) is None):
                raise BadRequest(400, "the trailer is malformed")
        elif self._left == 2:
            if line:
                raise BadRequest(400, "a chunk is longer than it said")
            self._left = -1
        else:
            self._start(line)

    def _start(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadRequest(400, "a chunk's size is malformed")
        size = int(found[1], 16)
        self._count += 1
        self._size += size
        if self._count > self.PATIENCE and self._size < self._count * self.TINY:
            raise BadRequest(400, "the body comes in too many tiny chunks")
        if size == 0:
            self._trailers = 1
        else:
            self._left = size + 2
