"""Events to a Dapr app over gRPC: AppCallback, as Dapr's runtime calls it; nothing of grpc is imported here.

Source: dapr/pkg/runtime/subscription/postman/grpc. Dapr's runtime takes UNIMPLEMENTED for done and loses the event;
here it goes to the dead letters.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from api.errors import EvokeError
from api.frames import Endpoint
from api.model import Subscription
from api.statuses import number
from eventbus import raw
from proxy.app_http import failure
from proxy.forms import name_of, topic_of, trace_headers
from proxy.outcomes import DONE, ENDED, MISSING, REFUSED, Outcome, Reply, of_reply
from proxy.wiring import Wiring
from replicas.apps.client import BindingAnswer, Item, Place
from replicas.errors import AppFailed, ReplicaError

if TYPE_CHECKING:
    from proxy.app_post import Shown


def of_error(error: EvokeError, seconds: float) -> Outcome:
    """Meaning of a call that brought no status."""
    if isinstance(error, AppFailed):
        if error.status == "UNIMPLEMENTED":
            return Outcome("unroutable", f"{error}: the app has no handler for this")
        return Outcome("failed", str(error), grpc=number(error.status))
    if isinstance(error, ReplicaError):
        return failure(error, seconds)
    return Outcome("malformed", str(error))  # the event cannot be told over gRPC


def of_word(status: str | None) -> Outcome:
    """Meaning of a status of the app; None: it did not name the entry."""
    return MISSING if status is None else of_reply(Reply(status=status))


class GrpcPoster:
    def __init__(self, wiring: Wiring, subscription: Subscription) -> None:
        self._wiring, self._subscription = wiring, subscription
        self._seconds = subscription.delivery.timeout.total_seconds()
        self._name, self._raw = name_of(subscription), subscription.form == "raw"

    async def post(
        self,
        endpoint: Endpoint,
        path: str,
        token: str,
        events: Sequence[Shown],
        wall: float,  # noqa: ARG002 - a poster's signature
    ) -> list[Outcome]:
        if self._subscription.form == "binding":
            return list(await asyncio.gather(*(self._binding(endpoint, token, one) for one in events)))
        place = Place(self._name, self._subscription.subject, path)
        if self._subscription.bulk_subscribe:
            return await self._bulk(endpoint, token, place, events)
        return list(await asyncio.gather(*(self._single(endpoint, token, place, one) for one in events)))

    async def _single(self, endpoint: Endpoint, token: str, place: Place, one: Shown) -> Outcome:
        metadata = {**one.metadata, **trace_headers(one.payload), "pubsubName": self._name}
        try:
            app = self._wiring.apps.grpc(endpoint.address, token)
            published = topic_of(self._subscription.subject, one.payload, one.metadata)
            where = msgspec.structs.replace(place, topic=published)
            return of_word(await app.topic_event(where, one.payload, metadata, self._seconds))
        except EvokeError as error:
            return of_error(error, self._seconds)

    async def _bulk(self, endpoint: Endpoint, token: str, place: Place, events: Sequence[Shown]) -> list[Outcome]:
        metadata = {"pubsubName": self._name}
        told = {**metadata, **trace_headers(events[0].payload)}
        try:
            app = self._wiring.apps.grpc(endpoint.address, token)
            said = await app.bulk(place, str(uuid.uuid4()), [self._item(one) for one in events], told, self._seconds)
        except EvokeError as error:
            whole = of_error(error, self._seconds)
            sure = len(events) == 1 or whole in {REFUSED, ENDED} or whole.kind == "unroutable"
            return [whole if sure else Outcome("unclear", whole.error)] * len(events)
        return [of_word(said.get(str(one.seq))) for one in events]

    def _item(self, one: Shown) -> Item:
        payload = raw.content(one.entry.payload or b"") if self._raw else one.payload
        return Item(str(one.seq), payload, one.metadata, raw=self._raw)

    async def _binding(self, endpoint: Endpoint, token: str, one: Shown) -> Outcome:
        name = binding_name(self._subscription)
        try:
            app = self._wiring.apps.grpc(endpoint.address, token)
            answer = await app.binding_event(name, raw.content(one.payload), one.metadata, self._seconds)
        except EvokeError as error:
            outcome = of_error(error, self._seconds)
            return Outcome("failed", outcome.error) if outcome.kind == "unroutable" else outcome
        return await self._hand_on(answer)

    async def _hand_on(self, answer: BindingAnswer) -> Outcome:
        """Give the answer's data to the output bindings that it names, before the event counts as done."""
        function = self._subscription.backends[0].revision.function_key

        async def create(name: str) -> None:
            try:
                await self._wiring.bind(function, name, answer.data)
            except EvokeError as error:
                raise EvokeError(f"output binding {name}: {error.message}") from error

        try:
            if answer.parallel:
                await asyncio.gather(*map(create, answer.to))
            else:
                for name in answer.to:
                    await create(name)
        except EvokeError as error:
            return Outcome("failed", str(error))
        return DONE


def binding_name(subscription: Subscription) -> str:
    """What the app calls the input binding: the end of its subject, ``evoke.binding.<namespace>.<function>.<name>``."""
    function = subscription.backends[0].revision
    head = f"evoke.binding.{function.namespace}.{function.function}."
    return subscription.subject.removeprefix(head)
