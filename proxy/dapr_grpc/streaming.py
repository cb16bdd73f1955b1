"""SubscribeTopicEventsAlpha1: an app takes the events of a topic on a stream that it opens itself.

The first answer comes once the subscription is open, so what is published after it comes. Errors are worded as Dapr's
runtime words them; their code is INVALID_ARGUMENT where it has UNKNOWN, which its SDKs take for a reason to try again.
"""

from __future__ import annotations

import asyncio

import grpc.aio
import msgspec
from dapr.proto.runtime.v1 import pubsub_pb2 as messages
from google.protobuf.message import DecodeError

from api.model import AppSubscription
from eventbus import raw
from proxy.dapr.errors import DaprError, busy, malformed
from proxy.dapr.streams import Place, Stream, Streams
from proxy.dapr_grpc.calls import Call
from proxy.dapr_grpc.metadata import Context
from proxy.forms import topic_of
from replicas.apps import client
from replicas.apps.grpc_messages import topic_event

READY = 30.0
"""Seconds until a new subscription must be open here; then the app is told to come again."""
MOST = 256
"""Streams that one app may have open at this proxy."""
PATH = "/"

_STATUS = {0: "SUCCESS", 1: "RETRY", 2: "DROP"}
_INITIAL = messages.SubscribeTopicEventsResponseAlpha1(
    initial_response=messages.SubscribeTopicEventsResponseInitialAlpha1()
).SerializeToString()


async def subscribe(call: Call, streams: Streams) -> None:
    """Serve one stream until either side ends it; raises DaprError."""
    first = await _next(call.context)
    if first is None:
        return
    wanted = _wanted(first)
    found = call.runtime.subscribable(call.caller, wanted.pubsub, wanted.topic)
    place = Place(call.caller.app.key, found.bus, found.subject)
    if len(streams.every(place.function)) >= MOST:
        raise busy(f"{MOST} streams of this app are open already")
    where = client.Place(wanted.pubsub, wanted.topic, PATH)
    stream = streams.open(place, wanted, lambda payload: _message(where, payload))
    try:
        await _open(streams, stream)
        await call.context.write(_INITIAL)
        await _serve(call.context, stream)
    finally:
        streams.close(stream)


async def _open(streams: Streams, stream: Stream) -> None:
    try:
        async with asyncio.timeout(READY):
            await streams.served(stream.place)
    except TimeoutError:
        wanted = stream.wanted
        message = f"the subscription to topic {wanted.topic} of pubsub {wanted.pubsub} is not open here yet"
        raise DaprError(503, "UNAVAILABLE", "ERR_PUBSUB_NOT_READY", message) from None


async def _serve(context: Context, stream: Stream) -> None:
    """Send and receive until one of both ends."""
    writing = asyncio.ensure_future(_write(context, stream))
    reading = asyncio.ensure_future(_read(context, stream))
    try:
        await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, writing):
            if task.done():
                task.result()
    finally:
        writing.cancel()
        reading.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)
    if stream.over:
        raise DaprError(503, "UNAVAILABLE", "ERR_PUBSUB_STREAM_CLOSED", stream.reason or "stream closed")


async def _write(context: Context, stream: Stream) -> None:
    async for message in stream.outgoing():
        await context.write(message)


async def _read(context: Context, stream: Stream) -> None:
    """Take answers until the app ends its half."""
    while (request := await _next(context)) is not None:
        if not request.HasField("event_processed"):
            raise malformed("duplicate initial request received")
        said = request.event_processed
        stream.answered(said.id, _STATUS.get(said.status.status, str(said.status.status)))


async def _next(context: Context) -> messages.SubscribeTopicEventsRequestAlpha1 | None:
    data = await context.read()
    if data is grpc.aio.EOF:
        return None
    try:
        return messages.SubscribeTopicEventsRequestAlpha1.FromString(data)
    except DecodeError as error:
        raise malformed(f"the request is no SubscribeTopicEventsRequestAlpha1: {error}") from error


def _wanted(first: messages.SubscribeTopicEventsRequestAlpha1) -> AppSubscription:
    if not first.HasField("initial_request"):
        raise malformed("initial request is required")
    initial = first.initial_request
    if not initial.pubsub_name:
        raise malformed("pubsubName is required")
    if not initial.topic:
        raise malformed("topic is required")
    return AppSubscription(
        pubsub=initial.pubsub_name,
        topic=initial.topic,
        path=PATH,
        metadata=dict(initial.metadata),
        dead_letter=initial.dead_letter_topic,
        stream=True,
    )


def _message(place: client.Place, payload: bytes) -> bytes:
    published = topic_of(place.topic, payload, raw.metadata(payload))
    event = topic_event(msgspec.structs.replace(place, topic=published), payload)
    return messages.SubscribeTopicEventsResponseAlpha1(event_message=event).SerializeToString()
