"""From an endpoint to the client of its protocol; gRPC is imported when the first gRPC app is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.model import AppProtocol
from replicas.apps.client import AppClient
from replicas.apps.http import HttpApp
from replicas.http import HttpClient

if TYPE_CHECKING:
    from replicas.apps.grpc import Channels, GrpcApp


class Apps:
    """Clients of many apps in one process and event loop; aclose() ends what they share."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._channels: Channels | None = None

    def http(self, address: str, token: str = "") -> HttpApp:
        return HttpApp(self._http, address, token)

    def grpc(self, address: str, token: str = "") -> GrpcApp:
        from replicas.apps.grpc import Channels, GrpcApp  # 35 MB that most processes never need

        if self._channels is None:
            self._channels = Channels()
        return GrpcApp(self._channels, address, token)

    def app(self, protocol: AppProtocol, address: str, token: str = "") -> AppClient:
        return self.grpc(address, token) if protocol == "grpc" else self.http(address, token)

    async def aclose(self) -> None:
        """Close every channel; the HttpClient is its owner's."""
        if self._channels is not None:
            await self._channels.aclose()


def app(protocol: AppProtocol, address: str, http: HttpClient, token: str = "") -> AppClient:
    """One app alone; its aclose() closes its channel."""
    if protocol == "http":
        return HttpApp(http, address, token)
    from replicas.apps.grpc import Channels, GrpcApp  # as above

    return GrpcApp(Channels(), address, token, own=True)
