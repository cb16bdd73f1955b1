"""bindings.cron: an input binding that fires by the clock, once however many proxies and replicas there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from api.meta import Key
from api.model import Component, Option, Source
from api.schedules import defect, split
from proxy.components.declaration import Declared
from proxy.components.families import BindingMetadata
from proxy.components.input_bindings import bound
from proxy.components.options import text


class Metadata(BindingMetadata, frozen=True, kw_only=True):
    """When to fire."""

    schedule: str
    """Five fields, six with seconds, ``@every 15s``, ``@hourly`` and the like; ``CRON_TZ=`` may stand before it."""
    time_zone: str = ""
    """Such as ``Europe/Berlin``; empty: UTC. Of ours."""
    missed: Literal["skip", "once", "all"] = "skip"
    """What is fired of the times that passed while nothing ran. Of ours."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """A schedule that cannot be read."""
        zone, rest = split(self.schedule)
        if wrong := defect(f"CRON_TZ={self.time_zone or zone or 'UTC'} {rest}"):
            yield "schedule", wrong


def source(component: Component, function: Key, subject: str) -> Source:
    """What fires for *function* on *subject*."""
    zone, schedule = split(text(component, "schedule"))
    options: dict[str, Option] = {"schedule": schedule, "missed": text(component, "missed", "skip").lower()}
    if zone := text(component, "timeZone") or zone:
        options["timeZone"] = zone
    return bound("cron", component, function, subject, options)


DECLARED = Declared(type="bindings.cron", metadata=Metadata, source=source, summary="Fires by the clock")
