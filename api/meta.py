"""Names of things: keys of resources and revisions, and references to secrets.

References carry no namespace: a resource may only point at its own, and this type is how that is enforced once.
"""

from __future__ import annotations

import msgspec


class Key(msgspec.Struct, frozen=True, order=True):
    """A namespaced name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read ``namespace/name`` back."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name)


class RevisionKey(msgspec.Struct, frozen=True, order=True):
    """One immutable revision of one function; *revision* is its five-digit number, ``00001`` first."""

    namespace: str
    function: str
    revision: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.function}-{self.revision}"

    @property
    def function_key(self) -> Key:
        return Key(self.namespace, self.function)


class SecretKeyRef(msgspec.Struct, frozen=True, kw_only=True, tag="secretKeyRef", omit_defaults=True):
    """One key of a Secret of the same namespace; the value itself never enters the model."""

    name: str
    key: str
    store: str = ""
    """Secret store component of the namespace that it stands in; empty: the platform's own Secrets."""


class ResourceRef(msgspec.Struct, frozen=True, order=True):
    """A resource of any kind, as tables and logs name it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"
