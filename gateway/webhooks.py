"""Event sources of kind http: a POST becomes events on the bus, and 202 means that they are stored there.

What answers a delivery, and the handshake before it, follow CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2,
sections 2.2 and 4.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from api.errors import EvokeError
from api.frames import SourceReading
from api.meta import Key
from api.model import Source
from eventbus.cloudevents import Malformed, Spoofed
from eventbus.errors import BusError
from gateway.agent import GatewayAgent
from gateway.connection import Request
from gateway.errors import Rejected, later
from gateway.hooks import Hook
from gateway.invocations import read
from gateway.limits import Limits
from gateway.outbox import Outbox, Resolve, rejection
from gateway.reply import Reply
from triggers.sources import signatures, webhook
from triggers.sources.signatures import BadSignature

LOOK_EVERY = 2.0
"""Seconds between two looks at the buses and secrets of all webhooks."""
ALLOW = (b"allow", b"POST, OPTIONS")

_ORIGIN = re.compile(rb"[A-Za-z0-9.:_*-]{1,253}")


def _now() -> datetime:
    return datetime.now(UTC)


class Webhooks:
    """Takes deliveries, and tells how each webhook is."""

    def __init__(
        self,
        agent: GatewayAgent,
        outbox: Outbox,
        limits: Limits,
        resolve: Resolve,
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._agent, self._outbox, self._limits = agent, outbox, limits
        self._resolve, self._now = resolve, now
        self._received: Counter[Key] = Counter()
        self._published: Counter[Key] = Counter()
        self._active: Counter[Key] = Counter()
        self._trouble: dict[Key, tuple[str, str]] = {}
        """Reason and message of what was wrong at the last look, or since."""

    async def run(self) -> None:
        """Keep buses connected and look at secrets, for ever."""
        while True:
            sources = self._agent.hooks.sources
            await asyncio.gather(*(self._look(source) for source in sources))
            known = {source.key for source in sources}
            for counts in (self._trouble, self._received, self._published):
                for gone in counts.keys() - known:
                    del counts[gone]
            await self._outbox.tidy()
            await asyncio.sleep(LOOK_EVERY)

    async def accept(self, request: Request, reply: Reply, hook: Hook, below: str) -> None:
        """Answer 202 once the bus has acknowledged every event of the request; raises Rejected when it did not."""
        if request.head.method == "OPTIONS":
            _handshake(request, reply)
            return
        if request.head.method != "POST":
            raise Rejected(405, "method", "a webhook takes POST", headers=(ALLOW,))
        source = hook.source
        if self._active[source.key] >= self._limits.per_function:
            raise later(429, "too-many-requests", f"{self._active[source.key]} deliveries are already under way")
        self._active[source.key] += 1
        try:
            await self._take(source, request, below)
        finally:
            self._active[source.key] -= 1
        reply.send(202, [], b"")

    async def _take(self, source: Source, request: Request, below: str) -> None:
        if request.head.header(b"content-encoding") not in {None, b"identity"}:
            raise Rejected(415, "E141", "the body must not be compressed")
        body = await read(request, self._limits.queued_body)
        self._check(source, request, body)
        try:
            taken = webhook.events(source, request.head.headers, body, below=below, now=self._now())
        except (Malformed, Spoofed) as error:
            status = error.status if isinstance(error, Malformed) else 403
            raise Rejected(status, error.code, error.message, hint=error.hint) from error
        await self._store(source, taken)

    def _check(self, source: Source, request: Request, body: bytes) -> None:
        """Hold the request to the webhook's secret; raises Rejected 401, or 503 when there is none to hold it to."""
        try:
            secret = self._secret(source)
        except (EvokeError, LookupError) as error:
            self._trouble[source.key] = ("SecretNotFound", str(error))
            raise later(503, "E147", "the webhook's secret cannot be read", seconds=5) from error
        if secret is None:
            return
        try:
            signatures.check(secret, request.head.headers, body, now=self._now())
        except BadSignature as error:
            challenge = ((b"www-authenticate", b"HMAC-SHA256"),)
            raise Rejected(401, "E146", error.message, headers=challenge, hint=error.hint) from error

    async def _store(self, source: Source, taken: list[webhook.Taken]) -> None:
        self._received[source.key] += len(taken)
        stored = await asyncio.gather(
            *(
                self._outbox.store(source.bus, source.subject, one.payload, key=one.key, dedupe=one.dedupe)
                for one in taken
            ),
            return_exceptions=True,
        )
        failed = [one for one in stored if isinstance(one, BaseException)]
        self._published[source.key] += len(stored) - len(failed)
        if not failed:
            self._trouble.pop(source.key, None)
            return
        if isinstance(failed[0], BusError):
            self._trouble[source.key] = (failed[0].reason, str(failed[0]))
            raise rejection(failed[0]) from failed[0]
        raise failed[0]

    def readings(self) -> tuple[SourceReading, ...]:
        """One for every webhook that is declared."""
        return tuple(self._reading(source) for source in self._agent.hooks.sources)

    def _reading(self, source: Source) -> SourceReading:
        reason, message = self._trouble.get(source.key, ("", ""))
        if winner := self._agent.hooks.lost.get(source.key):
            reason, message = "PathTaken", f"path {winner.path} belongs to event source {winner.source.key}"
        return SourceReading(
            source=source.key,
            connected=not reason,
            received=self._received[source.key],
            published=self._published[source.key],
            reason=reason,
            message=message,
        )

    async def _look(self, source: Source) -> None:
        try:
            await self._outbox.bus(source.bus)
            self._secret(source)
            trouble = self._outbox.trouble(source.bus)
        except BusError as error:
            trouble = error
        except (EvokeError, LookupError) as error:
            self._trouble[source.key] = ("SecretNotFound", str(error))
            return
        if trouble is None:
            self._trouble.pop(source.key, None)
        else:
            self._trouble[source.key] = (trouble.reason, str(trouble))

    def _secret(self, source: Source) -> str | None:
        """The secret as it stands now, so that a rotated one counts at once; None: requests are not signed."""
        option = source.options.get("secret")
        if option is None:
            return None
        secret = self._resolve(source.key.namespace, option)
        if not secret:
            raise LookupError("the webhook's secret is empty")
        return secret


def _handshake(request: Request, reply: Reply) -> None:
    """Answer a sender that asks whether it may deliver; whoever has the secret, or the address, may."""
    origin = request.head.header(b"webhook-request-origin")
    headers = [ALLOW]
    if origin is not None:
        if _ORIGIN.fullmatch(origin) is None:
            raise Rejected(400, "origin", "WebHook-Request-Origin is no host name")
        headers.append((b"webhook-allowed-origin", origin))
        if request.head.header(b"webhook-request-rate") is not None:
            headers.append((b"webhook-allowed-rate", b"*"))
    reply.send(200, headers, b"")
