"""Secrets of secret store components for the connections of buses and sources, which ask without waiting.

What a store answers is kept in memory and asked for anew while it is in use, so that a change of it is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from api.errors import EvokeError, NotFound
from api.meta import Key
from api.model import Option
from proxy.components.components import Components, value_of

FRESH, AGAIN = 5.0, 0.5
"""Seconds until a store is asked again: after an answer, and after none."""


class _Place(NamedTuple):
    store: Key
    name: str


class StoredSecrets:
    """Stands before *resolve*, which knows the platform's own secrets."""

    def __init__(self, resolve: Callable[[str, Option], str], components: Components) -> None:
        self._resolve, self._components = resolve, components
        self._known: dict[_Place, Mapping[str, str] | EvokeError] = {}
        self._asked: dict[_Place, float] = {}
        self._asking: dict[_Place, asyncio.Task[None]] = {}

    def resolve(self, namespace: str, option: Option) -> str:
        """The text of *option*; raises NotFound while its store has not answered yet."""
        if isinstance(option, str) or not option.store:
            return self._resolve(namespace, option)
        place = _Place(Key(namespace, option.store), option.name)
        self._ask(place)
        found = self._known.get(place)
        if found is None:
            raise NotFound(f"secret store {option.store} has not answered yet")
        if isinstance(found, EvokeError):
            raise NotFound(f"secret {option.name} cannot be read: {found}")
        return value_of(option, found)

    def _ask(self, place: _Place) -> None:
        now = asyncio.get_running_loop().time()
        pause = AGAIN if isinstance(self._known.get(place), EvokeError) else FRESH
        if place in self._asking or now < self._asked.get(place, float("-inf")) + pause:
            return
        self._asked[place] = now
        task = self._asking[place] = asyncio.create_task(self._read(place), name=f"secret of {place.store}")
        task.add_done_callback(partial(self._done, place))

    async def _read(self, place: _Place) -> None:
        try:
            self._known[place] = await self._components.stored(place.store, place.name)
        except EvokeError as error:
            if place not in self._known or isinstance(self._known[place], EvokeError):
                self._known[place] = error  # one that was read stays in use while its store is away

    def _done(self, place: _Place, _: asyncio.Task[None]) -> None:
        del self._asking[place]
