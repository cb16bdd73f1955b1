"""Every reason that a bus or source may give for not being connected stands in the table of conditions."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import eventbus
import triggers.sources
from api.conditions import REASONS
from api.errors import EvokeError
from eventbus.errors import BusError
from triggers.sources.source import SourceError

KNOWN = {**REASONS["Connected"], **REASONS["Subscribed"], **REASONS["Accepted"]}


def descendants(kind: type[EvokeError]) -> Iterator[type[EvokeError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from descendants(below)


def test_every_reason_is_in_the_table() -> None:
    for package in (eventbus, triggers.sources):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    reasons = {
        reason: error.__name__
        for base in (BusError, SourceError)
        for error in descendants(base)
        if isinstance(reason := getattr(error, "reason", None), str)
    }

    assert reasons
    assert {reason: name for reason, name in reasons.items() if reason not in KNOWN} == {}
