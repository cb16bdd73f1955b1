"""Kubernetes' own kinds that Evoke reads."""

from __future__ import annotations

from api.kinds.fields import Base64, Wire


class SecretBody(Wire, frozen=True, kw_only=True):
    """A Secret; its fields stand beside ``metadata``, there is no ``spec``."""

    type: str | None = None
    """``Opaque`` and the like; not interpreted."""
    immutable: bool | None = None
    """Whether it may be changed."""
    data: dict[str, Base64] = {}
    """Values in base64."""
    string_data: dict[str, str] = {}
    """Values as they are; wins over ``data``."""
