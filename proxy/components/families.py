"""Metadata that all components of one kind share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

import msgspec

from proxy.components.declaration import ComponentMetadata

_NO_OUTBOX = "it publishes from inside a transaction of daprd; publish after the save"


class StateMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """What every state store takes."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({"actorStateStore": "there are no actors"})
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({
        "outboxPublishPubsub": _NO_OUTBOX,
        "outboxPublishTopic": _NO_OUTBOX,
        "outboxPubsub": _NO_OUTBOX,
        "outboxDiscardWhenMissingState": _NO_OUTBOX,
        "primaryEncryptionKey": "values are stored as they come; encrypt the store's disk",
        "secondaryEncryptionKey": "values are stored as they come; encrypt the store's disk",
    })  # fmt: skip

    key_prefix: Annotated[str, msgspec.Meta(min_length=1)] = "appid"
    """Whose keys they are: ``appid``, ``name`` (of the component), ``namespace`` (with the app id), ``none``, or a
    prefix of its own for all who use it."""


class BindingMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """What every binding takes."""

    direction: str = ""
    """``input``, ``output``, or ``input, output``; an app is not asked whether it takes the events of an input."""
    route: str = ""
    """Path of the app that takes the events of an input; empty: the component's name."""
