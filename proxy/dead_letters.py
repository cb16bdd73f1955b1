"""Dead letters in the operations API: list, replay, purge, by trigger; letters of every subscription of a trigger."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.errors import NotFound
from api.meta import Key
from api.model import Snapshot, Subscription
from eventbus.bus import DeadLetter, EventBus
from proxy.buses import Buses
from proxy.parameters import count, decoded, moment
from replicas.asgi import Answer, Lines, Request, Router, json_reply

_encode = msgspec.json.Encoder().encode
_raw = msgspec.json.Decoder(msgspec.Raw)


class Selection(msgspec.Struct, frozen=True):
    """Body of a replay; None: every letter."""

    ids: list[str] | None = None


class DeadLetterRoutes:
    def __init__(self, buses: Buses, snapshots: Mapping[str, Snapshot]) -> None:
        self._buses, self._snapshots = buses, snapshots

    def serve(self, router: Router, path: str) -> None:
        """Answer on *path*, which names ``{namespace}`` and ``{trigger}``."""
        router.route(["GET"], path, self._list)
        router.route(["POST"], path, self._replay)
        router.route(["DELETE"], path, self._purge)

    async def _list(self, request: Request) -> Answer:
        """The letters that the query asks for, oldest first; ``limit=N``: the last N; ``bytes=1``: with their bytes."""
        query = request.query
        wanted, reason = query.get("id", ""), query.get("reason", "")
        since = moment(query.get("since", ""), datetime.now(UTC))
        found: deque[bytes] = deque(maxlen=count(query.get("limit", ""), "limit"))
        async for name, _, letter in self._letters(request):
            if wanted in {"", name} and reason in {"", letter.reason} and (since is None or letter.at >= since):
                found.append(_line(name, letter, exact=query.get("bytes", "") == "1"))
        return Lines(_each(found))

    async def _replay(self, request: Request) -> Answer:
        wanted = decoded(request.body or b"{}", Selection).ids
        chosen = [
            (bus, letter) async for name, bus, letter in self._letters(request) if wanted is None or name in wanted
        ]
        for bus, letter in chosen:
            await bus.replay(letter)
        return json_reply({"count": len(chosen)})

    async def _purge(self, request: Request) -> Answer:
        given = request.query.get("ids")
        wanted = given.split(",") if given else None
        found: dict[Key, tuple[EventBus, list[str]]] = {}
        async for name, bus, letter in self._letters(request):
            if wanted is None or name in wanted:
                found.setdefault(letter.subscription, (bus, []))[1].append(letter.id)
        purged = 0
        for subscription, (bus, ids) in found.items():
            purged += await bus.purge_dead_letters(subscription, ids)
        return json_reply({"count": purged})

    async def _letters(self, request: Request) -> AsyncIterator[tuple[str, EventBus, DeadLetter]]:
        """Every letter of a trigger with the id that people use: among several subscriptions, theirs comes first."""
        found = list(self._subscriptions(request.params["namespace"], request.params["trigger"]))
        for subscription in found:
            bus = self._buses.get(subscription.bus)
            if bus is None:
                continue
            async for letter in bus.dead_letters(subscription.key):
                prefix = f"{subscription.key.name}/" if len(found) > 1 else ""
                yield f"{prefix}{letter.id}", bus, letter

    def _subscriptions(self, namespace: str, trigger: str) -> Iterator[Subscription]:
        snapshot = self._snapshots.get(namespace)
        declared = snapshot.subscriptions if snapshot else ()
        found = concerned(declared, trigger)
        if not found:
            there = ", ".join(sorted({one.trigger or one.key.name for one in declared})) or "none"
            raise NotFound(
                f"no trigger named '{trigger}' in namespace {namespace}", code="E194", hint=f"there is {there}"
            )
        return iter(found)


def concerned(declared: Iterable[Subscription], name: str) -> list[Subscription]:
    """Those that *name* stands for: their own, their trigger's, or their function's, which stands for all of its."""
    return [
        one
        for one in declared
        if name in {one.trigger, one.key.name, *(backend.revision.function for backend in one.backends)}
    ]


async def _each(lines: deque[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


def _line(name: str, letter: DeadLetter, *, exact: bool) -> bytes:
    """One letter as one line of JSON; its event as it stands where that is JSON, *exact*: its bytes too."""
    members: dict[str, Any] = msgspec.to_builtins(letter)
    members["id"], members["subscription"] = name, str(letter.subscription)
    del members["payload"]
    try:
        letter.payload.decode()  # the decoder skims strings without checking their UTF-8
        members["event"] = _raw.decode(one_line(letter.payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        exact = True
    if exact:
        members["payload_base64"] = base64.b64encode(letter.payload).decode()
    return bytes(_encode(members))


def one_line(payload: bytes) -> bytes:
    """JSON without line breaks: in JSON they stand between tokens only."""
    return payload.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in payload or b"\r" in payload else payload
