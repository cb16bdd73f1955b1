"""Which of the two MQTT sources one is: through a session, or from the embedded broker's own stream."""

from __future__ import annotations

from collections.abc import Mapping

from api.model import Source
from triggers.sources.mqtt import MqttSource
from triggers.sources.mqtt_stored import STORE, StoredMqttSource
from triggers.sources.source import EventSource


def mqtt_source(source: Source, options: Mapping[str, str]) -> EventSource:
    """From the stream where the proxy said how to reach it; a session that is to be forgotten stays one."""
    if f"{STORE}url" in options and options.get("cleanSession", "").lower() != "true":
        return StoredMqttSource(source, options)
    return MqttSource(source, options)
