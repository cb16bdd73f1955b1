"""Asks apps again once there are input bindings that they were not asked about.

A replica that runs is asked, else one is started for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from api.errors import EvokeError
from api.meta import Key
from api.model import Workload
from controller.local.app_facts import AppFacts, Binding
from controller.local.fleet import Fleet
from controller.local.forks import Launch
from controller.local.revisions import Record, Revisions

log = logging.getLogger(__name__)

AGAIN = 10.0
"""Seconds until an app that did not answer is asked once more."""


class Questions:
    """Of the apps of all revisions that were checked."""

    def __init__(
        self,
        revisions: Revisions,
        fleet: Fleet,
        launch: Callable[[Workload], Awaitable[Launch]],
        bindings: Callable[[Workload], tuple[Binding, ...]],
    ) -> None:
        self._revisions, self._fleet, self._launch, self._bindings = revisions, fleet, launch, bindings
        self._asking: dict[Key, asyncio.Task[None]] = {}

    def ask(self) -> None:
        """The bindings may be others now."""
        for record, fresh in self._unasked():
            function = record.key.function_key
            if function not in self._asking:
                task = self._asking[function] = asyncio.create_task(self._ask(record, fresh))
                task.add_done_callback(partial(self._asked, function))

    async def stop(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, function: Key, _: asyncio.Task[None]) -> None:
        del self._asking[function]

    def _unasked(self) -> Iterator[tuple[Record, tuple[Binding, ...]]]:
        """The newest checked revision of every app with all its bindings, where it was not asked about one."""
        newest = {record.key.function_key: record for record in self._revisions.all() if record.app is not None}
        for record in newest.values():
            now = self._bindings(record.workload)
            if record.app is not None and set(now) - set(record.app.asked):
                yield record, now

    async def _ask(self, record: Record, bindings: tuple[Binding, ...]) -> None:
        while True:
            try:
                self._revisions.change(record.key, app=await self._answer(record, bindings))
            except EvokeError as error:
                log.warning("%s is not asked about its bindings yet: %s", record.key, error)
                await asyncio.sleep(AGAIN)
            else:
                self._fleet.changed()
                return

    async def _answer(self, record: Record, bindings: tuple[Binding, ...]) -> AppFacts | None:
        replicas = self._fleet.replicas
        ready = replicas.of(record.key, "ready")
        if ready:
            return await replicas.apps.ask(ready[0], record.workload, bindings)
        _, facts = await replicas.check(await self._launch(record.workload), bindings)
        return facts
