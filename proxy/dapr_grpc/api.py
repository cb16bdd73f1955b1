"""The gRPC API of one proxy as its assembly sees it: addresses, what is declared, the end. Imports nothing of grpc."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from pathlib import Path

from api.frames import AppListener
from api.meta import Key
from api.model import App
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError
from proxy.dapr.runtime import Runtime
from proxy.dapr.streams import Place, Streams
from proxy.dapr_grpc.listeners import GrpcListeners, Server


class GrpcApi:
    def __init__(self, runtime: Runtime, streams: Streams, place: Path | None = None) -> None:
        """*place*: directory for the socket of the server, made when it is needed; None: a temporary one."""
        self._runtime, self._streams = runtime, streams
        self._listeners = GrpcListeners(self._start, self._limit, place)

    async def on_address(self, host: str, port: int) -> tuple[str, int]:
        """Listen at a shared address, where a token says who calls; answers the one bound. Raises OSError."""
        return await self._listeners.on_address(host, port)

    async def assign(self, apps: Sequence[AppListener]) -> None:
        """Listen at exactly these addresses of apps."""
        await self._listeners.assign(apps)

    def declared(self) -> None:
        """The runtime has new declarations: end the streams that may not be any more, or mean another place now."""
        for stream in self._streams.every():
            wanted, place = stream.wanted, stream.place
            caller = Caller(self._runtime.directory.app(place.function))
            try:
                found = self._runtime.subscribable(caller, wanted.pubsub, wanted.topic)
            except DaprError as error:
                self._streams.close(stream, error.message)
            else:
                if Place(place.function, found.bus, found.subject) != place:
                    self._streams.close(stream, f"topic {wanted.topic} of pubsub {wanted.pubsub} is another one now")

    async def stop(self) -> None:
        """End every stream, let the calls in progress end, and close the addresses."""
        self._streams.end("the runtime shuts down")
        await self._listeners.stop()

    def _limit(self, own: Key | None) -> int:
        if own is not None:
            return self._runtime.directory.app(own).max_body
        default = App(key=Key("", ""), id="").max_body
        return max((app.max_body for app in self._runtime.directory.apps()), default=default)

    async def _start(self, limit: int, path: str) -> Server:
        # in a thread: the import takes a quarter of a second that others should not wait for
        server = await asyncio.to_thread(importlib.import_module, "proxy.dapr_grpc.server")
        started: Server = await server.serve(self._runtime, self._streams, self._listeners.own_of, limit, path)
        return started
