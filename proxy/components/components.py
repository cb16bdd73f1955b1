"""The components of all namespaces in this process, found by the name that an app uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from api.component_scopes import permits
from api.errors import NotFound
from api.frames import ComponentReading
from api.meta import Key, SecretKeyRef
from api.model import App, Component, Option
from proxy.components.app_state import AppState, prefix
from proxy.components.families import OUTBOX
from proxy.components.link import Link
from proxy.components.protocols import (
    Answer,
    Change,
    ComponentFailed,
    ComponentMissing,
    ConfigurationStore,
    Item,
    OperationUnknown,
    OutputBinding,
    ScopeDenied,
    SecretStore,
    StateStore,
    Value,
)
from proxy.components.registry import find, known, problems
from proxy.components.surroundings import Surroundings

BUILT_IN = "kubernetes"
"""Name in ``auth.secretStore`` that means the platform's own secrets where no component is called so."""


class Components:
    """Names are answered at once; a component that is still opening is waited for by its first calls."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._links: dict[Key, Link] = {}
        self._declared: dict[Key, Component] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def declare(self, components: Iterable[Component]) -> None:
        """These are all the components there are: open new ones, leave those that went, replace those that changed."""
        self._declared = {component.key: component for component in components}
        for key, link in list(self._links.items()):
            if self._declared.get(key) != link.component:
                self._retire(self._links.pop(key))
        for key, component in self._declared.items():
            declared = find(component.type, component.version)
            if key not in self._links and declared is not None and declared.open is not None:
                self._links[key] = Link(component, declared, self._around, self._resolve)

    def state(self, app: App, name: str) -> StateStore:
        """Its keys are those of *app*. Raises ComponentMissing, ScopeDenied, ComponentFailed."""
        return _State(self._link(app, "state", name), app)

    def binding(self, app: App, name: str) -> OutputBinding:
        """Raises as state() does."""
        return _Binding(self._link(app, "bindings", name))

    def secrets(self, app: App, name: str) -> SecretStore:
        """Raises as state() does; what of it the app may read is not judged here."""
        return _Secrets(self._link(app, "secretstores", name))

    def configuration(self, app: App, name: str) -> ConfigurationStore:
        """Raises as state() does."""
        return _Configuration(self._link(app, "configuration", name))

    def readings(self) -> tuple[ComponentReading, ...]:
        return tuple(link.reading for link in self._links.values())

    def rotate(self) -> None:
        """Look at the secrets of every component now, not only in a while."""
        for link in self._links.values():
            link.rotate()

    async def close(self) -> None:
        links = (*self._links.values(),)
        self._links.clear()
        await asyncio.gather(*(link.close() for link in links), *self._closing, return_exceptions=True)

    def _link(self, app: App, kind: str, name: str) -> Link:
        namespace = app.key.namespace
        denied = None
        for key in (Key(namespace, f"{app.key.name}/{name}"), Key(namespace, name)):
            component = self._declared.get(key)
            if component is None or component.type.partition(".")[0].lower() != kind or component.name != name:
                continue
            if not permits(component, app):
                denied = component
                continue
            link = self._links.get(key)
            if link is None:
                raise ComponentFailed(f"component {name} cannot be used: {_why(component)}", reason="Invalid")
            if failed := link.failed:
                raise failed
            return link
        if denied is not None:
            raise ScopeDenied(f"app id {app.id} is not in the scopes of component {name}")
        raise ComponentMissing(_WORDS[kind], name, self._names(app, kind))

    def _names(self, app: App, kind: str) -> list[str]:
        """What *app* may use of a kind."""
        there = (link.component for link in self._links.values() if link.declared.kind == kind)
        return sorted({one.name for one in there if permits(one, app)})

    async def _resolve(self, component: Component, option: Option) -> str:
        if isinstance(option, str):
            return option
        store = Key(component.key.namespace, component.secret_store)
        if not component.secret_store or (store.name == BUILT_IN and store not in self._declared):
            return self._around.resolve(component.key.namespace, option)
        return value_of(option, await self.stored(store, option.name))

    async def stored(self, store: Key, name: str) -> Mapping[str, str]:
        """The keys and values of one secret of a store, whoever may read it; raises EvokeError."""
        link = self._links.get(store)
        if link is None or link.declared.kind != "secretstores":
            raise NotFound(f"there is no secret store {store.name} in namespace {store.namespace}")
        pairs: Mapping[str, str] = await (await link.instance()).secret(name, {})
        return pairs

    def _retire(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(link.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def value_of(option: SecretKeyRef, pairs: Mapping[str, str]) -> str:
    """What *option* means of the secret it names; raises NotFound."""
    if option.key not in pairs:
        raise NotFound(f"secret {option.name} has no key {option.key} in its store")
    return pairs[option.key]


_WORDS = {
    "state": "state store",
    "bindings": "output binding",
    "secretstores": "secret store",
    "configuration": "configuration store",
}


def _why(component: Component) -> str:
    if found := problems(component):
        return "; ".join(map(str, found))
    return f"{component.type} does nothing of that kind; there is {', '.join(known(component.type.partition('.')[0]))}"


class _Named:
    """What an app holds of a component: the instance is looked up at each call, for it may be replaced meanwhile."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def open(self) -> str:
        await self._link.instance()
        return self._link.declared.type

    async def close(self) -> None:
        """It belongs to all apps."""


class _State(_Named):
    longest = 1 << 20

    def __init__(self, link: Link, app: App) -> None:
        super().__init__(link)
        self._app = app

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        return await (await self._store()).get(keys)

    async def change(self, change: Change) -> None:
        await (await self._store()).change(change)

    async def transact(self, changes: Sequence[Change]) -> None:
        await (await self._store()).transact(changes)

    async def _store(self) -> AppState:
        store = await self._link.instance()
        component = self._link.component
        outbox = bool({name.lower() for name in OUTBOX} & {name.lower() for name in component.metadata})
        return AppState(store, prefix(self._link.metadata.key_prefix, component, self._app), outbox=outbox)


class _Binding(_Named):
    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:
        operations = self._link.declared.operations
        if operation not in operations:
            raise OperationUnknown(self._link.component.name, operation, operations)
        binding: OutputBinding = await self._link.instance()
        return await binding.invoke(operation, data, metadata)


class _Secrets(_Named):
    async def secret(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        store: SecretStore = await self._link.instance()
        return await store.secret(name, metadata)

    async def secrets(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        store: SecretStore = await self._link.instance()
        return await store.secrets(metadata)


class _Configuration(_Named):
    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Value]:
        store: ConfigurationStore = await self._link.instance()
        return await store.get(keys, metadata)

    async def watch(self, keys: Sequence[str], metadata: Mapping[str, str]) -> AsyncIterator[dict[str, Value]]:
        store: ConfigurationStore = await self._link.instance()
        watching: Any = store.watch(keys, metadata)
        try:
            async for items in watching:
                yield items
        finally:
            await watching.aclose()
