"""Metadata that all components of one kind share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

import msgspec

from proxy.components.declaration import ComponentMetadata

OUTBOX = ("outboxPublishPubsub", "outboxPublishTopic", "outboxPubsub", "outboxDiscardWhenMissingState")
"""Of Dapr's outbox: what a transaction writes is published with it."""


class StateMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """What every state store takes."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({
        "actorStateStore": "there are no actors",
        **dict.fromkeys(OUTBOX, "there is no outbox: a transaction on this store is refused, all else works"),
    })  # fmt: skip
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({
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
