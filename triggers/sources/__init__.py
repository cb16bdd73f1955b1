"""Event sources: each brings events of one outside system onto a bus."""

from triggers.sources.registry import connect
from triggers.sources.source import EventSource, Publish

__all__ = ["EventSource", "Publish", "connect"]
