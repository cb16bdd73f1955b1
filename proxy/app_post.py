"""Hands the events of one subscription to a function's replicas, each in the protocol of its endpoint.

To our framework an event goes as it is stored (post.py). A Dapr app gets what its subscription asks for: the form and
the path are settled here, the call itself is made by app_http.py and app_grpc.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from api.errors import EvokeError
from api.frames import Endpoint
from api.model import Subscription
from proxy.app_grpc import GrpcPoster
from proxy.app_http import BindingPoster, HttpPoster
from proxy.forms import beside, shown
from proxy.hops import hops
from proxy.lanes import Entry
from proxy.outcomes import DONE, Outcome
from proxy.post import Poster
from proxy.routing import Routing
from proxy.wiring import Wiring

WARM_UP = 10.0
"""Seconds from the first event for which an app that has answered nothing else may say that it has no such route:
some listen before their routes are there."""
TOKEN_FOR = 5.0
"""Seconds for which an app's token counts as current."""
MOST_REPLICAS = 10_000


class Shown(NamedTuple):
    """One event as the app is to see it."""

    entry: Entry
    payload: bytes
    metadata: Mapping[str, str]
    """What goes beside it."""

    @property
    def seq(self) -> int:
        return self.entry.seq

    @property
    def attempts(self) -> int:
        return self.entry.attempts


class AppPoster(Protocol):
    """One call to an app, or as many as it takes, for events that go to one path."""

    async def post(
        self, endpoint: Endpoint, path: str, token: str, events: Sequence[Shown], wall: float
    ) -> list[Outcome]:
        """Outcomes in the order of *events*; never raises for what an app does."""
        ...


class AppReceiver:
    """The receiver of a subscription whose events go to a function."""

    def __init__(self, subscription: Subscription, epoch: int, wiring: Wiring) -> None:
        self._wiring, self._epoch = wiring, epoch
        prefix = wiring.directory.topic_prefix(subscription.bus)
        self._subscription = msgspec.structs.replace(subscription, subject=subscription.subject.removeprefix(prefix))
        self._routing = Routing(self._subscription)
        self._plain = self._routing.fixed and subscription.form == "event"
        self._posters: dict[str, Poster] = {}
        self._transports: dict[str, AppPoster] = {}
        self._met: dict[str, float] = {}
        """Replica that has taken no event yet -> when it was first asked; minus infinity: it has."""
        self._token = ("", float("-inf"))

    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:
        if endpoint.protocol == "evoke" and self._plain:
            return await self._poster(self._subscription.path).post(endpoint, batch, wall)
        outcomes: dict[int, Outcome] = {}
        groups: dict[str, list[Shown]] = {}
        for entry in batch:
            one = self._shown(entry)
            path = self._routing.of(one.payload)
            if isinstance(path, Outcome):
                dropped = path.kind == "unmatched" and self._subscription.delivery.dead_letter is None
                outcomes[entry.seq] = DONE if dropped else path
            else:
                groups.setdefault(path, []).append(one)
        calls = [self._call(endpoint, path, events, wall) for path, events in groups.items()]
        for events, found in zip(groups.values(), await asyncio.gather(*calls), strict=True):
            outcomes.update(zip((one.seq for one in events), found, strict=True))
        return [outcomes[entry.seq] for entry in batch]

    def _shown(self, entry: Entry) -> Shown:
        stored = entry.payload or b""
        binding = self._subscription.form == "binding"
        payload = stored if binding else shown(self._subscription, stored)
        # whoever echoes it when it publishes is known to publish because of this event
        counted = {**beside(stored, entry.metadata), "evoke-hops": str(hops(stored))}
        return Shown(entry, payload, counted)

    async def _call(self, endpoint: Endpoint, path: str, events: Sequence[Shown], wall: float) -> list[Outcome]:
        if endpoint.protocol == "evoke" and self._subscription.form != "binding":
            return await self._poster(path).post(endpoint, events, wall)
        try:
            token = self._current_token()
        except (EvokeError, LookupError, OSError) as error:
            return [Outcome("failed", f"the app's token cannot be read: {error}")] * len(events)
        outcomes = await self._transport(endpoint).post(endpoint, path, token, events, wall)
        return self._warmed(endpoint, outcomes)

    def _poster(self, path: str) -> Poster:
        found = self._posters.get(path)
        if found is None:
            there = msgspec.structs.replace(self._subscription, path=path)
            found = self._posters[path] = Poster(self._wiring.http, there, self._epoch)
        return found

    def _transport(self, endpoint: Endpoint) -> AppPoster:
        found = self._transports.get(endpoint.protocol)
        if found is None:
            if endpoint.protocol == "grpc":
                found = GrpcPoster(self._wiring, self._subscription)
            elif self._subscription.form == "binding":
                found = BindingPoster(self._wiring.apps, self._subscription, self._epoch)
            else:
                found = HttpPoster(self._wiring.apps, self._subscription)
            self._transports[endpoint.protocol] = found
        return found

    def _current_token(self) -> str:
        """What the app expects of its caller; raises what the store of secrets does."""
        token, until = self._token
        now = self._wiring.clock()
        if now < until:
            return token
        function = self._subscription.backends[0].revision.function_key
        token = self._wiring.resolve(function.namespace, self._wiring.directory.app(function).token)
        self._token = (token, now + TOKEN_FOR)
        return token

    def _warmed(self, endpoint: Endpoint, outcomes: list[Outcome]) -> list[Outcome]:
        """*outcomes*, where "no such route" of a replica that may still be starting is a failure like others."""
        now = self._wiring.clock()
        if len(self._met) > MOST_REPLICAS:
            self._met.clear()
        met = self._met.setdefault(endpoint.replica, now)
        if now - met > WARM_UP:
            return outcomes
        if any(one.kind not in {"unroutable", "not-started", "unknown"} for one in outcomes):
            self._met[endpoint.replica] = float("-inf")
            return outcomes
        return [
            Outcome("failed", f"{one.error}; it may not be up yet", code=one.code) if one.kind == "unroutable" else one
            for one in outcomes
        ]
