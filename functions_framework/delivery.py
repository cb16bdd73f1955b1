"""Take events: decode, fence, run, send what was returned, and only then answer.

Bulk protocol: Dapr's bulk subscribe. Entry metadata may carry evoke-attempt; a status may carry after_ms, reason and
error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from functions_framework import codec
from functions_framework.codec import BadEvent
from functions_framework.event import CloudEvent
from functions_framework.handler import Kind
from functions_framework.invocation import Invocation, new_call, of_request
from functions_framework.message import JSON, Reply, Request, not_started, text_reply
from functions_framework.outputs import Outputs
from functions_framework.replies import Fault, Outcome, Status, Statuses
from functions_framework.runner import Runner
from functions_framework.slots import NoRoom

BULK_TYPE = "com.dapr.event.sent.bulk"
MAX_ENTRIES = 1000
CRASH = (b"x-google-status", b"crash")


class Entry(msgspec.Struct, frozen=True):
    """One entry of a bulk delivery."""

    entry_id: str = msgspec.field(name="entryId")
    event: Any = None
    content_type: str = msgspec.field(default=codec.STRUCTURED, name="contentType")
    metadata: dict[str, str] | None = None


class Bulk(msgspec.Struct, frozen=True):
    """The body of a bulk delivery."""

    entries: list[Entry]
    type: str = ""
    topic: str = ""


_bulk = msgspec.json.Decoder(Bulk)
_members = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


class Deliveries:
    """Takes the events of one handler."""

    def __init__(self, runner: Runner, outputs: Outputs) -> None:
        self._runner = runner
        self._outputs = outputs
        self._returns = runner.handler.kind is not Kind.OPENFUNCTION

    async def take(self, request: Request) -> Reply:
        """Answer one delivery, single, batch or bulk."""
        headers = request.lookup
        platform = b"evoke-trigger" in headers
        media = codec.media_type(headers.get(b"content-type", b"").decode("latin-1"))
        try:
            if media == "application/json" and b'"entries"' in request.body[:256]:
                return await self._bulk(request, platform)
            if platform and media == codec.STRUCTURED:
                found: CloudEvent | list[CloudEvent] = CloudEvent.from_dict(_members.decode(request.body))
            else:
                found = codec.decode(request.headers, request.body)
                if b"x-forwarded-for" in headers:  # through a gateway, and so from an outsider
                    codec.check_origin(found)
        except BadEvent as error:
            return text_reply(error.reason, error.status)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return text_reply(f"bad event: {error}", 400)
        if isinstance(found, list):
            return await self._batch(found, request, platform)
        return await self._single(found, request, platform)

    async def take_event(self, event: CloudEvent, request: Request) -> Reply:
        """Answer one event that was decoded elsewhere."""
        return await self._single(event, request, b"evoke-trigger" in request.lookup)

    async def _single(self, event: CloudEvent, request: Request, platform: bool) -> Reply:
        invocation = of_request(request.lookup, _call_of(request))
        _adopt(invocation, event)
        outcomes = await self._run([invocation], platform)
        if outcomes is None:
            return not_started("no room: every place of this replica is taken")
        outcome = outcomes[0] or Outcome("RETRY", reason="not started")
        if platform or "pubsubname" in event:
            if outcome.error is not None and not platform:
                return _crash(outcome.error)
            return Reply(200, _encoder.encode(outcome.told()), [JSON])
        return _plain(outcome)

    async def _batch(self, events: list[CloudEvent], request: Request, platform: bool) -> Reply:
        if not events:
            return text_reply("OK")
        invocations = [of_request(request.lookup, _call_of(request)) for _ in events]
        for invocation, event in zip(invocations, events, strict=True):
            _adopt(invocation, event)
        outcomes = await self._run(invocations, platform)
        if outcomes is None:
            return not_started("no room: every place of this replica is taken")
        statuses = [o.told(str(e["id"])) for o, e in zip(outcomes, events, strict=True) if o is not None]
        if len(statuses) == len(events) and all(s.status == "SUCCESS" for s in statuses):
            return text_reply("OK")
        return Reply(200 if platform else 500, _encoder.encode(Statuses(statuses)), [JSON])

    async def _bulk(self, request: Request, platform: bool) -> Reply:
        entries = _bulk.decode(request.body).entries
        if len(entries) > MAX_ENTRIES:
            return text_reply(f"bulk delivery of {len(entries)} entries; at most {MAX_ENTRIES}", 413)
        shared = of_request(request.lookup, _call_of(request))
        invocations: list[Invocation] = []
        bad: list[Status] = []
        positions: list[str] = []
        for entry in entries:
            try:
                invocations.append(_invocation(entry, shared))
                positions.append(entry.entry_id)
            except (BadEvent, ValueError) as error:
                bad.append(Status("DROP", entry.entry_id, f"malformed: {error}"))
        if not invocations:
            return Reply(200, _encoder.encode(Statuses(bad)), [JSON])
        outcomes = await self._run(invocations, platform)
        if outcomes is None:
            return not_started("no room: every place of this replica is taken")
        told = [o.told(entry_id) for o, entry_id in zip(outcomes, positions, strict=True) if o is not None]
        return Reply(200, _encoder.encode(Statuses(told + bad)), [JSON])

    async def _run(self, invocations: Sequence[Invocation], platform: bool) -> list[Outcome | None] | None:
        """Run them and send what they returned; None if nothing could start."""
        slots = self._runner.slots
        if not platform and not slots.free:
            try:
                await slots.wait()
            except NoRoom:
                return None
            places = 1 + slots.take(len(invocations) - 1)
        else:
            places = slots.take(len(invocations))
        if not places:
            return None
        outcomes = await self._runner.run(invocations, places)
        if self._returns and self._outputs.declared:
            await self._send(invocations, outcomes)
        return outcomes

    async def _send(self, invocations: Sequence[Invocation], outcomes: list[Outcome | None]) -> None:
        """Publish what was returned; an event whose output is refused has failed, and so has the rest of its key."""
        results = {
            index: (invocations[index], outcome.value)
            for index, outcome in enumerate(outcomes)
            if outcome is not None and outcome.ok and outcome.value is not None
        }
        if not results:
            return
        failed = await self._outputs.returned(results)
        keys: set[str] = set()
        for index, invocation in enumerate(invocations):
            key = "" if invocation.event is None else str(invocation.event.get("partitionkey") or "")
            if index in failed:
                outcomes[index] = Outcome("RETRY", error=Fault("PublishFailed", failed[index]))
                keys.add(key)
            elif key and key in keys:
                outcomes[index] = None


def _invocation(entry: Entry, shared: Invocation) -> Invocation:
    if isinstance(entry.event, dict) and entry.content_type.startswith(codec.STRUCTURED):
        event = CloudEvent.adopt(entry.event)
        if "id" not in event or "source" not in event or "type" not in event:
            raise BadEvent("CloudEvent lacks id, source or type")
    elif entry.event is None:
        raise BadEvent("the entry has no event")
    else:
        attributes = {"id": entry.entry_id, "source": "Dapr", "type": "com.dapr.event.sent"}
        event = CloudEvent({**attributes, "datacontenttype": entry.content_type}, entry.event)
    attempt = shared.attempt
    if entry.metadata:
        raw = entry.metadata.get("evoke-attempt", "")
        attempt = int(raw) if raw.isdigit() else attempt
    invocation = Invocation(
        call=shared.call,
        attempt=attempt,
        expires=shared.expires,
        trigger=shared.trigger,
        traceparent=shared.traceparent,
    )
    _adopt(invocation, event)
    return invocation


def _adopt(invocation: Invocation, event: CloudEvent) -> None:
    invocation.event = event
    trace = event.get("traceparent")
    if trace:
        invocation.traceparent = str(trace)


def _call_of(request: Request) -> str:
    given = request.lookup.get(b"function-execution-id") or request.lookup.get(b"x-request-id")
    return given.decode("latin-1")[:128] if given else new_call()


def _plain(outcome: Outcome) -> Reply:
    """Answer a caller that is no broker: Google's OK and 500; Reject: the caller is wrong; Retry: come again."""
    if outcome.ok:
        return text_reply("OK")
    if outcome.error is not None:
        return _crash(outcome.error)
    if outcome.status == "DROP":
        return text_reply(outcome.reason or "rejected", 422)
    reply = text_reply(outcome.reason or "retry", 503)
    reply.headers.append((b"retry-after", str(-(-(outcome.after_ms or 1000) // 1000)).encode()))
    return reply


def _crash(_error: Fault) -> Reply:
    """Google's answer; what the exception says stays in the log."""
    reply = text_reply("Internal Server Error", 500)
    reply.headers.append(CRASH)
    return reply
