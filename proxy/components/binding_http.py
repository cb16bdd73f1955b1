"""``bindings.http``: requests to one address, every verb an operation.

The address is judged as that of a sink is (api/addresses.py), at each connection. Redirects are followed on the same
host only, for Dapr's follow them anywhere and would carry the security token along. An answer that is longer than
maxResponseBodySize is an error; daprd hands the first part over as if it were all.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar
from urllib.parse import urljoin, urlsplit

import msgspec

from api import quantities
from api.addresses import defect
from api.model import Component
from eventbus.errors import AuthFailed
from eventbus.tls import client_context
from proxy.components.declaration import Declared, about
from proxy.components.families import BindingMetadata
from proxy.components.protocols import Answer, ComponentError, ComponentFailed, MetadataIllegal, TooMuch
from proxy.components.surroundings import Surroundings
from replicas.errors import ReplicaError, ReplyTimeout, ReplyTooLarge
from replicas.http import HttpClient
from replicas.response import Response

OPERATIONS = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
REDIRECTS = 10
"""Followed, one after the other."""
_JSON = "application/json; charset=utf-8"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_PATH = re.compile(r"[\x21-\x7e]*")
_HOP = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"}
)
"""Headers that the connection sets."""
_CONTEXT = frozenset({"traceparent", "tracestate", "baggage"})
_SWITCHES = {"true": True, "1": True, "yes": True, "y": True, "t": True, "on": True}


class Metadata(BindingMetadata, frozen=True, kw_only=True):
    """Sends HTTP requests; metadata of a request: ``path`` is put behind the url, ``errorIfNot2XX`` is for this one,
    and names that begin with a capital letter are headers."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"MTLSRenegotiation": "TLS 1.3 has none, and ours is off as Go's is"}
    )

    url: Annotated[str, msgspec.Meta(min_length=1)]
    """Address that requests go to."""
    response_timeout: timedelta = timedelta(minutes=5)
    """For the whole exchange."""
    max_response_body_size: str = "100Mi"
    """Longest answer; 0: no limit."""
    error_if_not_2xx: bool = msgspec.field(name="errorIfNot2XX", default=True)
    """Whether any other answer is an error."""
    security_token: Annotated[str, about(secret=True)] = ""
    """Sent with every request in the header securityTokenHeader."""
    security_token_header: str = ""
    """Name of that header."""
    mtls_root_ca: Annotated[str, about(secret=True)] = msgspec.field(name="MTLSRootCA", default="")
    """Authority, as PEM or a path; empty: the system's."""
    mtls_client_cert: Annotated[str, about(secret=True)] = msgspec.field(name="MTLSClientCert", default="")
    """Our certificate, as PEM or a path."""
    mtls_client_key: Annotated[str, about(secret=True)] = msgspec.field(name="MTLSClientKey", default="")
    """Its key, as PEM or a path."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if wrong := defect(self.url):
            yield "url", wrong
        if bool(self.mtls_client_cert) != bool(self.mtls_client_key):
            yield "MTLSClientCert", "MTLSClientCert and MTLSClientKey go together"
        if self.security_token_header and not _TOKEN.fullmatch(self.security_token_header):
            yield "securityTokenHeader", f"`{self.security_token_header[:40]}` is no name of a header"
        try:
            self.longest  # noqa: B018 - reading it is the check
        except ValueError as error:
            yield "maxResponseBodySize", str(error)

    @property
    def longest(self) -> int:
        """Bytes; raises ValueError."""
        if self.max_response_body_size.startswith("-"):
            return 1 << 40
        return quantities.whole(self.max_response_body_size) or 1 << 40


class HttpBinding:
    def __init__(self, metadata: Metadata, http: HttpClient) -> None:
        self._metadata, self._http = metadata, http

    async def open(self) -> str:
        return self._metadata.url.partition("?")[0]

    async def close(self) -> None:
        await self._http.aclose()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:
        verb = "POST" if operation == "create" else operation.upper()
        headers = self._headers(verb, metadata)
        response, body = await self._exchange(self._url(metadata), verb, headers, data if verb in WITH_BODY else b"")
        asked = _given(metadata, "errorIfNot2XX")
        strict = self._metadata.error_if_not_2xx if not asked else _SWITCHES.get(asked.lower(), False)
        if strict and not 200 <= response.status < 300:
            said = " ".join(body[:200].decode("utf-8", "replace").split())
            raise ComponentError(f"received status code {response.status}" + (f": {said}" if said else ""))
        return Answer(data=body, metadata=_told(response))

    def _url(self, metadata: Mapping[str, str]) -> str:
        path = _given(metadata, "path")
        if not path:
            return self._metadata.url
        if not _PATH.fullmatch(path) or "#" in path:
            raise MetadataIllegal("path has a character that no path has; write it percent-encoded")
        return f"{self._metadata.url.rstrip('/')}/{path.lstrip('/')}"

    def _headers(self, verb: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Names in lower case; raises MetadataIllegal for what would be another request."""
        headers = {"accept": _JSON, "user-agent": "evoke"}
        if verb in WITH_BODY:
            headers["content-type"] = _JSON
        if self._metadata.security_token and self._metadata.security_token_header:
            headers[self._metadata.security_token_header.lower()] = self._metadata.security_token
        for name, value in metadata.items():
            if not (name[:1].isascii() and name[:1].isupper()) and name not in _CONTEXT:
                continue
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise MetadataIllegal(f"metadata `{name[:40]}` does not hold as a header")
            if name.lower() not in _HOP:
                headers[name.lower()] = value
        return headers

    async def _exchange(self, url: str, verb: str, headers: dict[str, str], data: bytes) -> tuple[Response, bytes]:
        within = self._metadata.response_timeout.total_seconds() or None
        try:
            async with asyncio.timeout(within):
                for _turn in range(REDIRECTS):
                    response = await self._send(url, verb, headers, data, within)
                    body = await response.read(self._metadata.longest)
                    further = _redirect(url, verb, response)
                    if not further:
                        break
                    url = further
                return response, body
        except (TimeoutError, ReplyTimeout):
            raise ComponentFailed(
                f"{_shown(url)} did not answer within {within:g} s", hint="see responseTimeout"
            ) from None
        except ReplyTooLarge as error:
            raise TooMuch(f"{_shown(url)}: {error}", hint="see maxResponseBodySize") from error
        except ReplicaError as error:
            raise ComponentFailed(f"{_shown(url)}: {error}") from error

    async def _send(self, url: str, verb: str, headers: dict[str, str], data: bytes, within: float | None) -> Response:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        address = f"{'tls:' if secure else ''}{_host(parts.hostname or '')}:{parts.port or (443 if secure else 80)}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [(b"host", parts.netloc.rpartition("@")[2].encode())]
        lines += [(name.encode(), value.encode()) for name, value in headers.items()]
        return await self._http.request(address, verb, target, lines, data, timeout=within)


def _redirect(url: str, verb: str, response: Response) -> str:
    """Where an answer sends the same request, on the same host; empty: nowhere."""
    followed = {301, 302, 303, 307, 308} if verb in {"GET", "HEAD"} else {307, 308}
    place = response.header(b"location")
    if response.status not in followed or not place:
        return ""
    further = urljoin(url, place.decode("latin-1")).partition("#")[0]
    old, new = urlsplit(url), urlsplit(further)
    same = old.netloc == new.netloc and new.scheme in {old.scheme, "https"}
    return further if same and not defect(further) else ""


def _told(response: Response) -> dict[str, str]:
    """What the caller reads of an answer beside its body; names of headers as Go writes them."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    found = {"statusCode": str(response.status), "status": f"{response.status} {phrase}".strip()}
    for name, value in response.headers:
        known = "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))
        text = value.decode("latin-1")
        found[known] = f"{found[known]}, {text}" if known in found else text
    return found


def _given(metadata: Mapping[str, str], name: str) -> str:
    return metadata.get(name) or metadata.get(name.lower(), "")


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _shown(url: str) -> str:
    return url.partition("?")[0][:200]


def _pem(text: str, folder: Path) -> str:
    """PEM, or the content of the file that *text* names; raises ComponentFailed."""
    if not text or "-----BEGIN" in text:
        return text
    try:
        return (folder / text).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ComponentFailed("a certificate is neither PEM nor a file that can be read", reason="TLSFailed") from error


def _context(metadata: Metadata, folder: Path) -> ssl.SSLContext:
    given = (metadata.mtls_root_ca, metadata.mtls_client_cert, metadata.mtls_client_key)
    texts = [_pem(text, folder) for text in given]
    try:
        return client_context(ca=texts[0], cert=texts[1], key=texts[2])
    except AuthFailed as error:
        raise ComponentFailed(str(error), reason="TLSFailed") from error


def open_binding(_component: Component, metadata: Metadata, around: Surroundings) -> HttpBinding:
    context = _context(metadata, around.folder) if metadata.url.startswith("https:") else None
    http = around.http.beside(tls=lambda: context) if context is not None else around.http.beside()
    return HttpBinding(metadata, http)


DECLARED = Declared(type="bindings.http", metadata=Metadata, open=open_binding, operations=OPERATIONS)
