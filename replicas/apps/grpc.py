"""One running gRPC app: Dapr's AppCallback service, over a channel per address that closes when nobody uses it.

The one module on the calling side that imports grpc; whoever needs it imports it when the first gRPC app is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from dapr.proto.runtime.v1.appcallback_pb2_grpc import (
    AppCallbackAlphaStub,
    AppCallbackHealthCheckStub,
    AppCallbackStub,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty

from api.model import AppSubscription
from replicas.apps.client import ASK, AppConfig, BindingAnswer, Invoked, Item, Place
from replicas.apps.grpc_messages import BULK_TYPE, bulk_entry, metadata_of, subscriptions_of, topic_event
from replicas.errors import AppFailed, BrokenReply, ConnectFailed, ReplicaError, ReplyTimeout

CONNECT = 5.0
"""Seconds until a connection stands; loopback takes one millisecond."""
IDLE = 30.0
"""Seconds after which a channel that nobody uses is closed."""
MAX_MESSAGE = 16 << 20
OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # an app is reached directly, whatever the environment says
    ("grpc.enable_retries", 0),  # whether a call is made again is decided by its caller
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # a replica may come back at the address of one that has gone
    ("grpc.keepalive_time_ms", 330_000),  # servers end connections that ask more often than every five minutes
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
)

Metadata = Sequence[tuple[str, str]]
Forwarded: TypeAlias = "grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes]"


class _Held:
    """A channel and how many calls use it."""

    __slots__ = ("channel", "idle_since", "users")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel, self.users, self.idle_since = channel, 0, 0.0


class Channels:
    """Channels of one process and event loop; aclose() ends them."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def use(self, address: str, seconds: float) -> AsyncIterator[grpc.aio.Channel]:
        """A connected channel to ``host:port`` or ``unix:/path``; raises ConnectFailed."""
        held = self._held.get(address)
        if held is None:
            held = self._held[address] = _Held(grpc.aio.insecure_channel(address, options=OPTIONS))
        held.users += 1
        try:
            await _connected(held.channel, address, min(seconds, CONNECT))
            yield held.channel
        finally:
            held.users -= 1
            held.idle_since = asyncio.get_running_loop().time()
            if self._sweeper is None:
                self._sweeper = asyncio.get_running_loop().call_later(IDLE, self._sweep)

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        held, self._held = self._held, {}
        await asyncio.gather(*(one.channel.close() for one in held.values()), *self._closing)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for address, held in list(self._held.items()):
            if not held.users and held.idle_since <= loop.time() - IDLE:
                del self._held[address]
                task = loop.create_task(held.channel.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._sweeper = loop.call_later(IDLE, self._sweep) if self._held else None


class GrpcApp:
    def __init__(self, channels: Channels, address: str, token: str = "", *, own: bool = False) -> None:
        """*token*: what the app expects in ``dapr-api-token``; empty: nothing. *own*: close *channels* with it."""
        self._channels, self.address, self._own = channels, address, own
        self._token: Metadata = [("dapr-api-token", token)] if token else []

    async def config(self, timeout: float = ASK) -> AppConfig:  # noqa: ARG002, ASYNC109 - gRPC apps have none
        return AppConfig()

    async def subscriptions(self, timeout: float = ASK) -> tuple[AppSubscription, ...]:  # noqa: ASYNC109 - how long the app may take
        """None where the app does not implement it; raises BadDeclaration."""
        try:
            return subscriptions_of(await self._ask(AppCallbackStub, "ListTopicSubscriptions", timeout))
        except AppFailed as error:
            if error.status == "UNIMPLEMENTED":
                return ()
            raise

    async def bindings(self, timeout: float = ASK) -> tuple[str, ...]:  # noqa: ASYNC109 - as above
        """Input bindings that the app lists."""
        try:
            reply = await self._ask(AppCallbackStub, "ListInputBindings", timeout)
        except AppFailed as error:
            if error.status == "UNIMPLEMENTED":
                return ()
            raise
        return tuple(reply.bindings)

    async def takes_binding(self, name: str, path: str = "", timeout: float = ASK) -> bool:  # noqa: ARG002, ASYNC109 - a path is HTTP's
        return name in await self.bindings(timeout)

    async def healthy(self, path: str, timeout: float) -> bool:  # noqa: ARG002, ASYNC109 - a path is HTTP's
        """Any error counts as ill, UNIMPLEMENTED too: who turns health checks on implements them (Dapr's rule)."""
        try:
            await self._ask(AppCallbackHealthCheckStub, "HealthCheck", timeout)
        except ReplicaError:
            return False
        return True

    async def topic_event(self, place: Place, payload: bytes, metadata: Mapping[str, str], timeout: float) -> str:  # noqa: ASYNC109 - as above
        """The app's status: ``SUCCESS``, ``RETRY``, ``DROP``, or its number. Raises BadEvent, AppFailed."""
        request = topic_event(place, payload)
        reply = await self._call(AppCallbackStub, "OnTopicEvent", request, metadata_of(metadata), timeout)
        return _status(reply.status)

    async def bulk(
        self,
        place: Place,
        id: str,  # noqa: A002 - Dapr's name
        items: Sequence[Item],
        metadata: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - as above
    ) -> dict[str, str]:
        """Entry id -> status, of those that the app names. Raises BadEvent, AppFailed."""
        request = messages.TopicEventBulkRequest(
            id=id,
            entries=[bulk_entry(item) for item in items],
            metadata=dict(metadata),
            topic=place.topic,
            pubsub_name=place.pubsub,
            type=BULK_TYPE,
            path=place.path,
        )
        told = metadata_of(metadata)
        try:
            reply = await self._call(AppCallbackStub, "OnBulkTopicEvent", request, told, timeout)
        except AppFailed as error:
            if error.status != "UNIMPLEMENTED":
                raise
            reply = await self._call(AppCallbackAlphaStub, "OnBulkTopicEventAlpha1", request, told, timeout)
        return {one.entry_id: _status(one.status) for one in reply.statuses}

    async def binding_event(self, name: str, data: bytes, metadata: Mapping[str, str], timeout: float) -> BindingAnswer:  # noqa: ASYNC109 - as above
        """*metadata* goes in the message and as metadata of the call: Dapr's Python SDK sees only the latter."""
        request = messages.BindingEventRequest(name=name, data=data, metadata=dict(metadata))
        reply = await self._call(AppCallbackStub, "OnBindingEvent", request, metadata_of(metadata), timeout)
        parallel = reply.concurrency == messages.BindingEventResponse.PARALLEL
        return BindingAnswer(tuple(reply.to), reply.data, parallel)

    async def invoke(
        self,
        method: str,
        verb: str,
        query: str,
        content_type: str,
        data: bytes,
        metadata: Mapping[str, str],
        timeout: float | None,  # noqa: ASYNC109 - as above
    ) -> Invoked:
        """OnInvoke; *verb* as in HTTP. Raises AppFailed with the app's status."""
        verbs = dict(common_pb2.HTTPExtension.Verb.items())
        known = verbs.get(verb, common_pb2.HTTPExtension.NONE)
        extension = common_pb2.HTTPExtension(verb=known, querystring=query)
        request = common_pb2.InvokeRequest(
            method=method, data=AnyMessage(value=data), content_type=content_type, http_extension=extension
        )
        metadata_sent = [*metadata_of(metadata), *self._token]
        async with self._channel(timeout or CONNECT) as channel:
            call = _stub(AppCallbackStub, channel).OnInvoke(request, timeout=timeout, metadata=metadata_sent)
            reply = await call
            headers = [*(await call.initial_metadata()), *(await call.trailing_metadata())]
        told = tuple((key, value) for key, value in headers if isinstance(value, str))
        return Invoked(reply.data.value, reply.content_type, told)

    @asynccontextmanager
    async def forward(
        self,
        method: str,
        requests: AsyncIterator[bytes] | bytes,
        metadata: Sequence[tuple[str, str | bytes]],
        timeout: float | None,  # noqa: ASYNC109 - as above
    ) -> AsyncIterator[Forwarded]:
        """Any method of any service (``/pkg.Service/Method``), its messages as bytes. Its errors stay grpc's own, for
        whoever serves the call at the other side tells them on; only ConnectFailed is ours.

        A single message goes in one write with the head: the status of an app that refuses at once is lost where grpc
        finds the call ended before its first message."""
        async with self._channels.use(self.address, timeout or CONNECT) as channel:
            # without serializers: bytes in, bytes out
            make: Any = (channel.unary_stream if isinstance(requests, bytes) else channel.stream_stream)(method)
            call = make(requests, timeout=timeout, metadata=[*metadata, *self._token])
            try:
                yield call
            finally:
                call.cancel()

    async def aclose(self) -> None:
        if self._own:
            await self._channels.aclose()

    @asynccontextmanager
    async def _channel(self, seconds: float) -> AsyncIterator[grpc.aio.Channel]:
        async with self._channels.use(self.address, seconds) as channel:
            try:
                yield channel
            except grpc.aio.AioRpcError as error:
                raise _translated(error, channel, self.address) from error

    async def _ask(self, stub: Callable[[grpc.aio.Channel], Any], method: str, seconds: float) -> Any:
        return await self._call(stub, method, Empty(), (), seconds)

    async def _call(
        self, stub: Callable[[grpc.aio.Channel], Any], method: str, request: Any, metadata: Metadata, seconds: float
    ) -> Any:
        async with self._channel(seconds) as channel:
            call = getattr(_stub(stub, channel), method)
            return await call(request, timeout=seconds, metadata=[*metadata, *self._token])


def _stub(stub: Callable[[grpc.aio.Channel], Any], channel: grpc.aio.Channel) -> Any:
    return stub(channel)


async def _connected(channel: grpc.aio.Channel, address: str, seconds: float) -> None:
    """Return once the connection stands: a call that fails before has not begun."""
    state = channel.get_state(try_to_connect=True)
    try:
        async with asyncio.timeout(seconds):
            while state is not grpc.ChannelConnectivity.READY:
                if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
                    raise ConnectFailed(f"cannot connect to {address}")
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        raise ConnectFailed(f"no connection to {address} within {seconds:g} s") from None


def _translated(error: grpc.aio.AioRpcError, channel: grpc.aio.Channel, address: str) -> ReplicaError:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ReplyTimeout(f"no answer of {address} within the time limit")
    lost = channel.get_state() is not grpc.ChannelConnectivity.READY
    if lost and code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}:
        return BrokenReply(f"the connection to {address} ended before the answer: {details}")
    return AppFailed(code.name, details)


def _status(number: int) -> str:
    try:
        return messages.TopicEventResponse.TopicEventResponseStatus.Name(
            messages.TopicEventResponse.TopicEventResponseStatus.ValueType(number)
        )
    except ValueError:
        return str(number)
