"""What a component finds around it in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from api.model import Option
from api.platform import Platform
from proxy.settings import as_written
from replicas.http import HttpClient

Keeper = Callable[[str], Mapping[str, Mapping[str, str]]]
"""Namespace -> every Secret resource of it with its values."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    resolve: Callable[[str, Option], str] = as_written
    """(namespace, option) -> its text out of the platform's own secrets; raises NotFound."""
    keeper: Keeper | None = None
    """The platform's own secrets as a whole; None: they cannot be listed here."""
    folder: Path = Path()
    """Where relative paths begin: the project's folder, never that of the process."""
    platform: Platform | None = None
    """Where the embedded broker stands; None: there is none."""
    http: HttpClient = field(default_factory=HttpClient)
    """For addresses that users name; it judges them."""
    shared: bool = True
    """Whether the environment of this process is another one than that of the apps' owner."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Of this process; only the secret store of variables looks, and only at what it was told to."""
