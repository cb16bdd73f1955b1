"""An owner whose events go to Dapr apps: real HTTP and gRPC servers in the test process."""

from __future__ import annotations

from api.frames import Endpoint, Endpoints
from api.model import App, Component, Snapshot, Subscription
from eventbus.bus import EventBus
from tests.proxy.plant import REVISION, Plant, subscription
from tests.replicas.apps import GrpcServer, HttpServer


def listing(generation: int, *servers: HttpServer | GrpcServer, credit: int = 32, evoke: bool = False) -> Endpoints:
    """*servers* as the ready replicas of the tests' function; *evoke*: of our framework."""
    endpoints = tuple(
        Endpoint(
            replica=f"app-{server.port}",
            address=server.address,
            credit=credit,
            protocol="evoke" if evoke else "http" if isinstance(server, HttpServer) else "grpc",
        )
        for server in servers
    )
    return Endpoints(epoch=1, revision=REVISION, generation=generation, endpoints=endpoints)


class AppPlant(Plant):
    """A Plant whose replicas speak Dapr's protocol."""

    def __init__(
        self,
        sub: Subscription | None = None,
        bus: EventBus | None = None,
        *,
        token: str = "",
        components: tuple[Component, ...] = (),
    ) -> None:
        super().__init__(sub or subscription(path="/take"), bus)
        app = App(key=REVISION.function_key, id="on-reading", protocol="http", token=token)
        self.wiring.directory.declare([Snapshot(namespace="default", apps=(app,), components=components)])

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        await self.wiring.apps.aclose()

    async def serve(self, *servers: HttpServer | GrpcServer, credit: int = 32, evoke: bool = False) -> None:
        """These, and no others, are ready; *evoke*: as functions of our framework."""
        self.generation += 1
        self.table.update(listing(self.generation, *servers, credit=credit, evoke=evoke))

    async def outcome(self) -> tuple[str, int]:
        """What became of the only event: ``done``, or the reason of its letter, and how many attempts that took."""
        await self.drained()
        letters = await self.letters()
        return (letters[0].reason, letters[0].attempts) if letters else ("done", 0)
