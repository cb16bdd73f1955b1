"""The application: everything a function's process answers, whatever server carries it.

Platform paths: /healthz, /readyz, /dapr/config, /dapr/subscribe, /evoke/descriptor, /evoke/overdue,
/evoke/fence, /__evoke/invocation.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import msgspec

from functions_framework import codec
from functions_framework.adapters import event_arguments, web_call
from functions_framework.asynchronous import invocation_outcome, request_of
from functions_framework.background import from_legacy
from functions_framework.codec import BadEvent
from functions_framework.context.calls import Wiring
from functions_framework.context_schema import read
from functions_framework.dapr import DaprClient
from functions_framework.declared import BATCH, bindings, subscriptions
from functions_framework.delivery import Deliveries
from functions_framework.event import CloudEvent
from functions_framework.exceptions import EventConversionException
from functions_framework.fence import Fence
from functions_framework.handler import Handler, Kind
from functions_framework.invocation import new_call, of_request
from functions_framework.loader import Loaded
from functions_framework.message import Reply, Request, json_reply, not_started, text_reply
from functions_framework.outputs import Outputs
from functions_framework.replies import Outcome, timed_out
from functions_framework.routes import RESERVED_MISSES, route
from functions_framework.runner import Runner
from functions_framework.slots import NoRoom, Slots
from functions_framework.web import WebCalls
from functions_framework.zygote_wire import Descriptor

INVOCATION_PATH = "/__evoke/invocation"
FENCE_PATH = "/evoke/fence"
"""Where a new owner of a trigger says its epoch, and hears which keys still run for the one before."""

log = logging.getLogger("functions_framework")


class App:
    """Answers requests for the handlers of one source."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str] = os.environ) -> None:
        self.loaded = loaded
        self.handlers = loaded.handlers
        self.draining = False
        self.in_flight = 0
        self._late_requests = 0
        self.on_idle: Callable[[], None] = lambda: None
        """Called when the last request of a draining process has been answered."""
        self.context = read(environ)
        self._bindings = frozenset(f"/{name}" for name in bindings(self.context))
        self.client = DaprClient.of(environ)
        self.outputs = Outputs(self.context, self.client, source=_app_id(environ))
        self._fence = Fence()
        self._threads: ThreadPoolExecutor | None = None
        self._root = os.path.dirname(loaded.module.__file__ or "")  # noqa: PTH120 - a prefix to compare strings with
        self._runners = {h.name: Runner(h, self.executor, event_arguments(h), self._root) for h in self.handlers}
        self._events = {
            h.name: Deliveries(self._runners[h.name], self.outputs) for h in self.handlers if h.kind.takes_events
        }
        self._web = {h.name: WebCalls(h, self.executor, web_call(h)) for h in self.handlers if h.kind.takes_requests}
        for calls in self._web.values():
            calls.view  # noqa: B018 - imports the web library now, not within the first request

    def executor(self) -> Executor:
        """Threads of plain handlers, made on the first use."""
        if self._threads is None:
            plain = sum(h.concurrency if h.kind is not Kind.BATCH else 1 for h in self.handlers if not h.is_async)
            self._threads = ThreadPoolExecutor(max(1, plain), thread_name_prefix="handler")
        return self._threads

    @property
    def descriptor(self) -> Descriptor:
        """What this replica can take."""
        takes_events = any(h.kind.takes_events for h in self.handlers)
        return Descriptor(
            handlers=[str(h) for h in self.handlers],
            concurrency=max(h.concurrency for h in self.handlers),
            batch=BATCH if takes_events else 0,
            load_ms=round(self.loaded.duration.total_seconds() * 1000, 3),
        )

    @property
    def overdue(self) -> int:
        """Calls that were given up at their deadline and still run: they hold their places until they end."""
        return self._late_requests + sum(len(runner.overdue) for runner in self._runners.values())

    def start(self) -> None:
        """Bind to the running loop; contexts send through it."""
        Wiring.outputs = self.outputs
        Wiring.loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Let go of connections and threads; a thread that never ends does not hold the process."""
        await self.client.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def handle(self, request: Request) -> Reply:
        """Answer one request; raises nothing."""
        answer = self._of_platform(request)
        if answer is not None:
            return answer
        asked = request.method == "GET" and request.path == FENCE_PATH
        if self.draining and not asked:
            return not_started("draining: this replica is about to stop", close=True)
        highest = self._fence.refuses(request.lookup)
        if highest is not None:
            fenced = text_reply(f"a newer owner delivers this trigger: epoch {highest}", 409)
            fenced.headers.append((b"evoke-epoch", b"%d" % highest))
            return fenced
        if asked:
            return json_reply({"keys": self._fence.running(request.lookup), "overdue": self.overdue})
        self.in_flight += 1
        self._fence.begin(request)
        try:
            return await self._dispatch(request)
        except Exception as error:  # the framework's own fault: one answer, and the reason in the log
            log.error("%s: %s", type(error).__name__, error, exc_info=error)
            return text_reply("Internal Server Error", 500)
        finally:
            self._fence.end(request)
            self._ended()

    def _of_platform(self, request: Request) -> Reply | None:
        """Answer to what the platform or a daprd asks; None: the request is for a handler."""
        if request.method == "GET":
            answer = _PLATFORM.get(request.path)
            return None if answer is None else answer(self)
        if request.path in self._bindings:
            request.headers.append((b"evoke-binding", request.path[1:].encode("latin-1", "replace")))
        return self._bound(request) if request.method == "OPTIONS" else None

    def _bound(self, request: Request) -> Reply | None:
        """Answer to a daprd that asks whether events of a binding are wanted; 405 would mean yes."""
        if request.path in self._bindings:
            return Reply(200)
        handler = route(self.handlers, request.path, is_event=False)
        own = handler is not None and handler.kind.takes_requests and handler.kind is not Kind.OPENFUNCTION
        return None if own else text_reply("no input binding of that name", 404)

    def _ended(self) -> None:
        self.in_flight -= 1
        if self.draining and not self.in_flight:
            self.on_idle()

    async def _dispatch(self, request: Request) -> Reply:
        if request.path in RESERVED_MISSES:
            return text_reply("Not Found", 404)
        if request.path == INVOCATION_PATH and request.method == "POST":
            return await self._invocation(request)
        is_event = _is_event(request)
        handler = route(self.handlers, request.path, is_event=is_event)
        if handler is None:
            names = ", ".join(str(h) for h in self.handlers)
            return text_reply(f"no handler for {request.path[:200]}; handlers: {names}", 404)
        if handler.kind is Kind.OPENFUNCTION and not codec.carries_event(request.headers) and not _is_bulk(request):
            return await self._request(handler, request)
        if handler.kind.takes_events and (is_event or not handler.kind.takes_requests):
            return await self._event(handler, request)
        return await self._request(handler, request)

    async def _event(self, handler: Handler, request: Request) -> Reply:
        if request.method != "POST":
            legacy = handler.kind is Kind.EVENT and request.method == "GET"
            return Reply(200) if legacy else _only_post()
        deliveries = self._events[handler.name]
        if _is_event(request):
            return await deliveries.take(request)
        try:
            event: CloudEvent = from_legacy(request.body)
        except EventConversionException as error:
            if handler.kind is Kind.EVENT:
                return text_reply(f"no event: {error}", 400)
            return self._no_event(request, str(error))
        return await deliveries.take_event(event, request)

    def _no_event(self, request: Request, reason: str) -> Reply:
        try:
            codec.decode(request.headers, request.body)
        except BadEvent as error:
            return text_reply(f"{error.reason}; nor is it an event of Google's older format: {reason}", error.status)
        return text_reply("no CloudEvent", 400)

    async def _request(self, handler: Handler, request: Request) -> Reply:
        slots = self._runners[handler.name].slots
        try:
            await slots.wait()
        except NoRoom:
            return not_started("no room: too many requests wait for this replica")
        given = request.lookup.get(b"function-execution-id") or request.lookup.get(b"x-request-id")
        call = given.decode("latin-1")[:128] if given else new_call()
        try:
            reply = await self._web[handler.name].take(request, of_request(request.lookup, call))
        except BaseException:
            slots.give(1)
            raise
        if reply.after is not None:
            self._late_requests += 1
            reply.after.add_done_callback(lambda _done: self._caught_up(slots))
        elif isinstance(reply.body, bytes):
            slots.give(1)
        else:
            reply.body = _held(reply.body, lambda: slots.give(1))
        return reply

    def _caught_up(self, slots: Slots) -> None:
        self._late_requests -= 1
        slots.give(1)

    async def _invocation(self, request: Request) -> Reply:
        """An asynchronous invocation: the event holds an HTTP request, whose status decides the event's fate."""
        try:
            members = msgspec.json.decode(request.body, type=dict[str, Any])
            inner = request_of(CloudEvent.from_dict(members), request)
        except (BadEvent, msgspec.DecodeError, ValueError, KeyError) as error:
            return json_reply(Outcome("DROP", reason=f"malformed invocation: {error}").told())
        handler = route(self.handlers, inner.path, is_event=False)
        if handler is None or not handler.kind.takes_requests:
            return json_reply(Outcome("DROP", reason=f"no http handler for {inner.path}").told())
        reply = await self._request(handler, inner)
        if (b"evoke-not-started", b"1") in reply.headers:
            return reply
        if reply.after is not None:
            return json_reply(timed_out(cancelled=False).told())
        return json_reply((await invocation_outcome(reply)).told())


def _is_bulk(request: Request) -> bool:
    return b'"entries"' in request.body[:256] and request.lookup.get(b"content-type", b"").startswith(
        b"application/json"
    )


def _is_event(request: Request) -> bool:
    """Whether the request carries events in any form, or comes from a trigger."""
    return codec.carries_event(request.headers) or b"evoke-trigger" in request.lookup or _is_bulk(request)


async def _held(body: Any, release: Callable[[], None]) -> Any:
    """Stream *body*, then release the place of its call."""
    try:
        async for chunk in body:
            yield chunk
    finally:
        release()


def _only_post() -> Reply:
    reply = text_reply("Method Not Allowed", 405)
    reply.headers.append((b"allow", b"POST"))
    return reply


def _app_id(environ: Mapping[str, str]) -> str:
    """Dapr's app id of this function, the source of what it sends."""
    function = environ.get("K_SERVICE") or environ.get("FUNCTION_TARGET") or "function"
    namespace = environ.get("POD_NAMESPACE", "")
    return f"{function}-{namespace}" if namespace else function


def _ready(app: App) -> Reply:
    return text_reply("draining", 503) if app.draining else text_reply("ok")


_PLATFORM: dict[str, Callable[[App], Reply]] = {
    "/healthz": lambda _app: text_reply("ok"),
    "/readyz": _ready,
    "/dapr/config": lambda _app: json_reply({}),
    "/dapr/subscribe": lambda app: json_reply(subscriptions(app.context)),
    "/evoke/overdue": lambda app: json_reply({"overdue": app.overdue}),
    "/evoke/descriptor": lambda app: json_reply(msgspec.to_builtins(app.descriptor)),
}
