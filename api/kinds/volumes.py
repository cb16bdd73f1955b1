"""Volumes that a Function's template may have: objects of its own namespace and scratch space, nothing of the node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from api.kinds.fields import Count, Name, Quantity, Wire

_HOST = "it would reach into the node"
_IDENTITY = "a function runs under its namespace's own identity"


class KeyToPath(Wire, frozen=True, kw_only=True):
    """A key as a file."""

    key: str
    """Key in the object's data."""
    path: str
    """Path in the volume."""
    mode: Count | None = None
    """Permissions."""


class SecretVolume(Wire, frozen=True, kw_only=True):
    """A Secret as files."""

    secret_name: Name
    """Name of the Secret."""
    items: tuple[KeyToPath, ...] = ()
    """Keys; empty: all."""
    default_mode: Count | None = None
    """Permissions."""
    optional: bool | None = None
    """Whether it may be missing."""


class ConfigMapVolume(Wire, frozen=True, kw_only=True):
    """A ConfigMap as files."""

    name: Name
    """Name of the ConfigMap."""
    items: tuple[KeyToPath, ...] = ()
    """Keys; empty: all."""
    default_mode: Count | None = None
    """Permissions."""
    optional: bool | None = None
    """Whether it may be missing."""


class EmptyDir(Wire, frozen=True, kw_only=True):
    """Scratch space."""

    medium: Literal["", "Memory"] | None = None
    """Where it is."""
    size_limit: Quantity | None = None
    """Its size."""


class ClaimVolume(Wire, frozen=True, kw_only=True):
    """A PersistentVolumeClaim of the same namespace."""

    claim_name: Name
    """Its name."""
    read_only: bool | None = None
    """Whether it may be written."""


class Volume(Wire, frozen=True, kw_only=True):
    """A volume; exactly one source."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("hostPath", "nfs", "csi", "iscsi", "fc", "local", "flexVolume", "rbd", "cephfs", "glusterfs"), _HOST
    ) | {"projected": _IDENTITY, "downwardAPI": _IDENTITY}

    name: Name
    """Its name."""
    secret: SecretVolume | None = None
    """A Secret."""
    config_map: ConfigMapVolume | None = None
    """A ConfigMap."""
    empty_dir: EmptyDir | None = None
    """Scratch space."""
    persistent_volume_claim: ClaimVolume | None = None
    """A claim."""
