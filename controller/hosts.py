"""Which function has which host, where several claim one: the first by name; pure."""

from __future__ import annotations

from collections.abc import Mapping

from api.meta import Key
from controller.readers.model import FunctionModel


def owners(functions: Mapping[Key, FunctionModel]) -> dict[str, Key]:
    """Host -> the function that has it."""
    found: dict[str, Key] = {}
    for key in sorted(functions):
        for host in claimed(functions[key]):
            found.setdefault(host, key)
    return found


def claimed(model: FunctionModel) -> tuple[str, ...]:
    return model.route.hosts if model.route is not None else ()


def lost(key: Key, model: FunctionModel, owned: Mapping[str, Key]) -> dict[str, Key]:
    """Hosts that function *key* claims and another one has, with that one."""
    return {host: owned[host] for host in claimed(model) if owned[host] != key}
