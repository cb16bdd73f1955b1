"""What one request means: a page of the gateway's own, a call, an invocation for later, or a webhook's delivery."""

from __future__ import annotations

from gateway.agent import GatewayAgent
from gateway.connection import Request
from gateway.errors import Rejected, later
from gateway.forward import Forwarder
from gateway.headers import identity
from gateway.invocations import Invocations
from gateway.metrics import CONTENT_TYPE, Metrics
from gateway.reply import Reply
from gateway.routes import normal_path, not_found
from gateway.traffic import Traffic
from gateway.webhooks import Webhooks

TEXT = (b"content-type", b"text/plain; charset=utf-8")
STARTING = 5.0
"""Seconds for which a request is held while the gateway has not heard what it serves."""
OWN = frozenset({"/healthz", "/readyz", "/metrics"})


class Front:
    """The handler of every request."""

    def __init__(
        self,
        agent: GatewayAgent,
        forwarder: Forwarder,
        invocations: Invocations,
        webhooks: Webhooks,
        metrics: Metrics,
        traffic: Traffic,
    ) -> None:
        self._agent, self._forwarder, self._invocations = agent, forwarder, invocations
        self._webhooks, self._metrics, self._traffic = webhooks, metrics, traffic

    async def handle(self, request: Request, reply: Reply) -> None:
        head = request.head
        request_id = identity(head.header(b"x-request-id"))
        reply.extra.append((b"x-request-id", request_id))
        try:
            path = normal_path(head.target)
            host = head.host.decode("ascii")
            if path in OWN and not self._agent.router.claims(host):
                self._own(path, head.method, reply)
                return
            if not self._agent.configured and not await self._agent.wait_configured(STARTING):
                raise later(503, "starting", "the gateway has not heard of any function yet")
            hooked = None if self._agent.router.claims(host) else self._agent.hooks.find(path)
            found = None if hooked else self._agent.router.resolve(host, path, head.method)
        except Rejected:
            self._traffic.rejected += 1
            raise
        if hooked is not None:
            await self._webhooks.accept(request, reply, *hooked)
        elif found is None:
            raise not_found()
        elif found.mode == "async-function":
            await self._invocations.accept(request, reply, found, request_id)
            self._traffic.function(found.route.key).queued += 1
        else:
            await self._forwarder.forward(request, reply, found, request_id)

    def _own(self, path: str, method: str, reply: Reply) -> None:
        """Answer one of our own pages."""
        if method not in {"GET", "HEAD"}:
            raise Rejected(405, "method", "this page is read with GET", headers=((b"allow", b"GET, HEAD"),))
        if path == "/metrics":
            reply.send(200, [(b"content-type", CONTENT_TYPE)], self._metrics.page())
        elif path == "/readyz" and not self._agent.configured:
            reply.send(503, [TEXT], b"no snapshot yet\n")
        else:
            reply.send(200, [TEXT], b"ok\n")
