"""Events to an HTTP address: one POST each, as a structured CloudEvent; what its answers mean.

Which answers are tried again follows the event delivery of Knative's Eventing specification: no answer, 404, 408, 409,
429 and everything from 500. Any other answer that is no 2xx would be the same again, and a redirect is not followed:
the event goes to the dead letters at once. The body of a 2xx means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from api.frames import Endpoint
from api.model import UriSink
from proxy.lanes import Entry
from proxy.outcomes import DONE, Outcome
from proxy.retry_after import retry_after
from replicas.errors import ConnectFailed, ReplicaError, ReplyTimeout
from replicas.http import HttpClient
from replicas.response import Response

AGAIN = frozenset({404, 408, 409, 429})
"""Answers below 500 that are tried again."""
SHOWN = 200
"""Characters of a refusal that people read."""
MAX_BODY = 64 << 10
"""Bytes of an answer that are read, so that its connection can be kept."""
BODY_WAIT = 2.0
"""Seconds for them; then the connection ends."""


class UriReceiver:
    def __init__(self, http: HttpClient, sink: UriSink, timeout: float) -> None:
        """*timeout*: seconds of one attempt, from connecting to the last byte."""
        parts = urlsplit(sink.url)
        secure = parts.scheme == "https"
        self._http, self._timeout = http, timeout
        self._address = f"{'tls:' if secure else ''}{parts.hostname}:{parts.port or (443 if secure else 80)}"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        self._headers = [
            (b"host", host.encode("idna") if not host.isascii() else host.encode()),
            (b"content-type", b"application/cloudevents+json"),
            (b"user-agent", b"evoke"),
        ]

    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:  # noqa: ARG002  # a sink has one place
        return [await self._post(entry.payload or b"", wall) for entry in batch]

    async def _post(self, payload: bytes, wall: float) -> Outcome:
        try:
            response = await self._http.request(
                self._address, "POST", self._target, self._headers, payload, timeout=self._timeout
            )
        except ReplyTimeout:
            return Outcome("failed", f"no answer within {self._timeout:g} s")
        except (ConnectFailed, ReplicaError) as error:
            return Outcome("failed", str(error))
        return outcome(response.status, dict(response.headers), await _text(response), wall)


async def _text(response: Response) -> str:
    """The answer's body, as far as it comes and is worth reading: the status says it all."""
    try:
        async with asyncio.timeout(BODY_WAIT):
            return (await response.read(MAX_BODY)).decode("utf-8", "replace")
    except (ReplicaError, TimeoutError):
        return ""


def outcome(status: int, headers: dict[bytes, bytes], text: str, wall: float) -> Outcome:
    """Meaning of one answer; *headers* have lower-case names."""
    if 200 <= status < 300:
        return DONE
    said = " ".join(text.split())[:SHOWN]
    error = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status in AGAIN or status >= 500:
        return Outcome("failed", error, retry_after(status, headers, wall), status)
    return Outcome("rejected", error, code=status)
