"""Which proxy serves which app at addresses of its own, and where handlers of ours find their proxy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from api.frames import AppListener
from api.meta import Key
from controller.local.app_ports import AppPorts

FIRST = "proxy-0"


class Control(Protocol):
    """What is needed of replicas.server.ControlServer."""

    def listen(self, agent: str, apps: Iterable[AppListener]) -> None: ...


class Listeners:
    """The apps' listeners, told to their home proxies."""

    def __init__(self, ports: AppPorts, control: Control) -> None:
        self._ports, self._control = ports, control
        self._homes: Mapping[Key, str] = {}
        self._told: set[str] = set()

    def settle(self, homes: Mapping[Key, str], apps: Collection[Key]) -> None:
        """*homes* of all functions are these, and *apps* are those that are other programs; empty homes change
        nothing: no proxy is there, and those that were may come back."""
        if not homes:
            return
        self._homes = homes
        found: dict[str, list[AppListener]] = {name: [] for name in self._told | set(homes.values())}
        for function in sorted(apps):
            found[homes.get(function, FIRST)].append(self._ports.listener(function))
        for name, listeners in found.items():
            self._control.listen(name, listeners)
        self._told = {name for name, listeners in found.items() if listeners}

    def of(self, function: Key) -> AppListener:
        """Where the API listens for *function*, whichever proxy that is."""
        return self._ports.listener(function)

    def socket(self, function: Key) -> str:
        """Name of the socket of the API at the home of *function*."""
        return socket_of(self._homes.get(function, FIRST))


def socket_of(proxy: str) -> str:
    """Name of the socket at which *proxy* serves the API."""
    return "dapr" if proxy == FIRST else f"dapr-{proxy.rpartition('-')[2]}"
