"""Kinds of event sources: one entry and one file each, imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from api.model import Option, Source
from triggers.sources.source import BadSource, EventSource

SOURCES = {
    "cron": ("triggers.sources.cron", "CronSource"),
    "mqtt": ("triggers.sources.mqtt", "MqttSource"),
}
"""Kind -> module and class; kafka, redis, nats and http are read but not built yet."""


def connect(source: Source, resolve: Callable[[Option], str]) -> EventSource:
    """The source, not running yet; *resolve* turns an option into its text. Raises BadSource."""
    if source.kind not in SOURCES:
        raise BadSource(
            f"event source {source.key} is of kind {source.kind}, which this release does not run",
            hint=f"use one of {', '.join(sorted(SOURCES))}",
        )
    module, name = SOURCES[source.kind]
    options = {option: resolve(value) for option, value in source.options.items()}
    return cast("EventSource", getattr(import_module(module), name)(source, options))
