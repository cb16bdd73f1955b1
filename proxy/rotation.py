"""Whether secrets behind options have changed since they were used; nothing of them is kept but a keyed digest."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping

from api.errors import EvokeError
from api.model import Option

LOOK_EVERY = 10.0
"""Seconds between two looks at every secret in use."""

_SALT = os.urandom(32)
"""Of this process: the digests are of no use outside of it."""


class Secrets:
    """The secrets among the options of one connection."""

    def __init__(self, options: Mapping[str, Option], resolve: Callable[[Option], str]) -> None:
        self._references = {name: option for name, option in options.items() if not isinstance(option, str)}
        self._resolve = resolve
        self._used: bytes | None = None

    def use(self) -> None:
        """They are about to be read for a connection."""
        self._used = self._digest()

    @property
    def changed(self) -> bool:
        """They are others than those in use, and can be read."""
        if not self._references or self._used is None:
            return False
        now = self._digest()
        return now is not None and not hmac.compare_digest(now, self._used)

    def _digest(self) -> bytes | None:
        """None: one cannot be read now."""
        made = hmac.new(_SALT, digestmod=hashlib.sha256)
        try:
            for name, reference in sorted(self._references.items()):
                value = self._resolve(reference)
                made.update(f"{name}\0{len(value)}\0{value}".encode())
        except (EvokeError, LookupError, OSError):
            return None
        return made.digest()
