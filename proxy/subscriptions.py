"""Which subscriptions this process owns: what the controller assigned, as the snapshots declare it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from api.frames import TriggerReading, Want
from api.meta import Key, RevisionKey
from api.model import Subscription
from proxy.buses import Buses, Link
from proxy.owner import Owner
from proxy.remains import FILE, Remains
from proxy.wiring import Wiring

FIRST_CONNECT = 1.0
"""Seconds for which an owner waits for the first connection to its bus before it counts as unreachable."""


class Subscriptions:
    def __init__(self, wiring: Wiring, buses: Buses, worker: str, cache: Path) -> None:
        self._wiring, self._buses, self._worker = wiring, buses, worker
        self._owners: dict[Key, Owner] = {}
        self._links: dict[Key, Link] = {}
        self._starting: dict[Key, asyncio.Task[None]] = {}
        self._ending: dict[Key, asyncio.Task[None]] = {}
        self._remains = Remains(cache / FILE, buses.link)
        self._by_revision: dict[RevisionKey, list[Owner]] = {}
        wiring.table.subscribe(self._poke)

    def assign(
        self, declared: Mapping[Key, Subscription], assigned: Collection[Key], namespaces: Collection[str]
    ) -> None:
        """Own exactly those of *assigned* that are *declared*: open, change and give up as needed.

        *declared* is all that *namespaces* have: what once was owned here and is not among it is forgotten.
        """
        wanted = {key: declared[key] for key in assigned if key in declared}
        for key, owner in list(self._owners.items()):
            subscription = wanted.get(key)
            if subscription is None or owner.moved(subscription) or self._links[key] is not self._link(subscription):
                self._give_up(key, owner)
            elif subscription != owner.subscription:
                owner.change(subscription)
                self._remains.add(subscription, self._links[key])
        for key, subscription in wanted.items():
            if key not in self._owners:
                self._open(key, subscription)
        self._remains.sweep(declared.values(), namespaces, self._ending.get)
        self._by_revision = {}
        for owner in self._owners.values():
            for backend in owner.subscription.backends:
                self._by_revision.setdefault(backend.revision, []).append(owner)

    def of(self, revision: RevisionKey) -> list[Owner]:
        """Owners whose events may go to *revision*."""
        return self._by_revision.get(revision, [])

    def readings(self) -> list[TriggerReading]:
        return [reading for owner in self._owners.values() for reading in owner.readings()]

    def wants(self) -> list[Want]:
        """One for each revision with work and without a ready replica."""
        found: dict[RevisionKey, Want] = {}
        for owner in self._owners.values():
            for want in owner.wants():
                known = found.get(want.revision)
                waiting = want.waiting + (known.waiting if known else 0)
                found[want.revision] = Want(
                    revision=want.revision, generation=want.generation, waiting=waiting, reason=want.reason
                )
        return list(found.values())

    async def close(self) -> None:
        """Give everything up."""
        for key, owner in list(self._owners.items()):
            self._give_up(key, owner)
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        await self._remains.close()

    def _link(self, subscription: Subscription) -> Link | None:
        return self._buses.link(subscription.bus)

    def _open(self, key: Key, subscription: Subscription) -> None:
        link = self._link(subscription)
        if link is None:
            return  # BusNotFound: the controller says so in the conditions
        owner = self._owners[key] = Owner(subscription, lambda: link.bus, self._wiring, self._worker)
        self._links[key] = link
        before = [one for one in (self._ending.get(key), self._remains.forgetting(subscription)) if one is not None]
        self._starting[key] = asyncio.get_running_loop().create_task(self._start(owner, link, before))

    async def _start(self, owner: Owner, link: Link, before: Collection[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        self._remains.add(owner.subscription, link)
        try:
            async with asyncio.timeout(FIRST_CONNECT):
                await link.ready.wait()
        except TimeoutError:
            pass  # the owner says what is wrong, and tries again by itself
        owner.start()
        await link.ready.wait()
        owner.retry()  # a broker that came back is used at once, however long its owner would have paused

    def _give_up(self, key: Key, owner: Owner) -> None:
        del self._owners[key]
        self._links.pop(key)
        self._starting.pop(key).cancel()
        self._end(key, owner.stop())

    def _end(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        task = self._ending[key] = asyncio.get_running_loop().create_task(work, name=f"end {key}")

        def ended(done: asyncio.Task[None]) -> None:
            if self._ending.get(key) is done:
                del self._ending[key]

        task.add_done_callback(ended)

    def _poke(self, revision: RevisionKey) -> None:
        for owner in self._by_revision.get(revision, ()):
            owner.poke()
