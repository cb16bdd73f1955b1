"""Kinds of event sources: one entry and one file each, imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from api.model import Option, Source
from triggers.sources.source import BadSource, Cells, EventSource

SOURCES = {
    "cron": ("triggers.sources.cron", "CronSource"),
    "kafka": ("triggers.sources.kafka", "KafkaSource"),
    "mqtt": ("triggers.sources.mqtt_kinds", "mqtt_source"),
    "nats": ("triggers.sources.nats", "NatsSource"),
    "redis": ("triggers.sources.redis", "RedisSource"),
}
"""Kind -> module and class; http is served by the gateway."""
REMEMBERING = frozenset({"cron"})
"""Kinds that take *cells* too."""


def connect(source: Source, resolve: Callable[[Option], str], cells: Cells) -> EventSource:
    """The source, not running yet; *resolve* turns an option into its text. Raises BadSource."""
    if source.kind not in SOURCES:
        raise BadSource(
            f"event source {source.key} is of kind {source.kind}, which this release does not run",
            hint=f"use one of {', '.join(sorted(SOURCES))}",
        )
    module, name = SOURCES[source.kind]
    options = {option: resolve(value) for option, value in source.options.items()}
    try:
        made = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise BadSource(
            f"event source {source.key} needs the package {error.name}, which is not installed",
            hint=f"install evoke-functions with the extra `{source.kind}`",
        ) from error
    return cast("EventSource", made(source, options, cells) if source.kind in REMEMBERING else made(source, options))
