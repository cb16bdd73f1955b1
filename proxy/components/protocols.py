"""What a component of each kind does, in no transport's words, and the errors that it raises.

Everything is async and may be called by many callers at once. Calls raise ComponentError only; what a vendor's client
raises ends in the file of the component.

ComponentError
├── ComponentMissing      no component of that name and kind; ``.known`` has those that there are
├── ScopeDenied           the app is outside of its scopes
├── ComponentFailed       it could not be opened, its secrets are missing, or the other side does not answer
├── Unsupported           it cannot do that at all (transactions, a metadata key)
├── OperationUnknown      an output binding has no such operation; ``.operations`` has its own
├── RequestIllegal        a value of the request does not hold
│   ├── KeyIllegal        a state key that is empty, too long or has ``||`` in it
│   ├── EtagInvalid       an ETag of a form that the store never gave
│   └── MetadataIllegal   ttlInSeconds and the like
├── EtagMismatch          somebody else changed the key; a first write met a key that is there
├── TooMuch               larger than the store takes
└── SecretMissing         the store has no such secret
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from api.errors import EvokeError

Concurrency = Literal["", "first-write", "last-write"]
Consistency = Literal["", "eventual", "strong"]


class ComponentError(EvokeError):
    """A component cannot do what it was asked."""


class ComponentMissing(ComponentError):
    """There is no component of that name and kind."""

    def __init__(self, kind: str, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(f"{kind} {name} is not found", hint=f"there is {', '.join(known)}" if known else "")
        self.known = tuple(known)


class ScopeDenied(ComponentError):
    """The app is outside of the component's scopes."""


class ComponentFailed(ComponentError):
    """It is not there to be used; *reason* is that of condition Connected."""

    def __init__(self, message: str, *, reason: str = "Unreachable", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Unsupported(ComponentError):
    """The component has no such ability."""


class OperationUnknown(ComponentError):
    """An output binding was asked for an operation that it does not have."""

    def __init__(self, name: str, operation: str, operations: Sequence[str]) -> None:
        asked = f"does not support operation {operation[:40]}" if operation else "needs an operation: none was given"
        super().__init__(f"binding {name} {asked}. supported operations:{' '.join(operations)}")
        self.operations = tuple(operations)


class RequestIllegal(ComponentError):
    """A value of the request does not hold."""


class KeyIllegal(RequestIllegal):
    """A state key cannot be used."""


class EtagInvalid(RequestIllegal):
    """The store never gave an ETag like that."""


class MetadataIllegal(RequestIllegal):
    """A metadata value of the request does not hold."""


class EtagMismatch(ComponentError):
    """Somebody else has changed what was to be written."""

    def __init__(self, key: str = "") -> None:
        super().__init__("possible etag mismatch: somebody else changed the key" + (f" {key[:80]}" if key else ""))


class TooMuch(ComponentError):
    """Larger than the component takes."""


class SecretMissing(ComponentError):
    """The store has no such secret."""


class Instance(Protocol):
    """Any component that lives in this process.

    One that may lose the other side has ``trouble`` (the ComponentFailed of its last call, or None) and ``probe()``,
    which finds out whether it is over.
    """

    async def open(self) -> str:
        """Reach the other side once, and say what it is; raises ComponentError. May be called again after that."""

    async def close(self) -> None:
        """Let go; never raises."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a state store has."""

    value: bytes
    etag: str
    metadata: dict[str, str] = {}
    """``ttlExpireTime`` (RFC 3339) where it will go by itself."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Set a key."""

    key: str
    value: bytes
    etag: str | None = None
    """Only if the key still has it; None or empty: whatever it has."""
    concurrency: Concurrency = ""
    """``first-write`` without an ETag: only if the key is not there."""
    consistency: Consistency = ""
    ttl: int = 0
    """Seconds; 0: as it is, -1: it stays for ever."""
    metadata: dict[str, str] = {}
    """As the caller gave it; ``ttlInSeconds`` in it is read into *ttl* before a store sees it."""


class Remove(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a key; one that is not there is no error, except with an ETag."""

    key: str
    etag: str | None = None
    concurrency: Concurrency = ""
    consistency: Consistency = ""
    metadata: dict[str, str] = {}


Change: TypeAlias = Write | Remove


class StateStore(Instance, Protocol):
    """Keys and values with ETags; keys are those of the store, whoever owns them."""

    @property
    def longest(self) -> int:
        """Longest key in bytes."""

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        """One per key, in order; None: it is not there."""

    async def change(self, change: Change) -> None:
        """Raises EtagMismatch, EtagInvalid, TooMuch."""

    async def transact(self, changes: Sequence[Change]) -> None:
        """All of them or none, in order; raises as change(), and Unsupported where the store cannot."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an output binding answers."""

    data: bytes = b""
    metadata: dict[str, str] = {}


class OutputBinding(Instance, Protocol):
    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:
        """*operation* is one of those that the type declares. Raises ComponentError."""


class SecretStore(Instance, Protocol):
    async def secret(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Raises SecretMissing."""

    async def secrets(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Everything that the store hands out, by name."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration item."""

    value: str
    version: str = ""
    metadata: dict[str, str] = {}


class ConfigurationStore(Instance, Protocol):
    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Value]:
        """Those of *keys* that are there; no keys: everything."""

    def watch(self, keys: Sequence[str], metadata: Mapping[str, str]) -> AsyncIterator[dict[str, Value]]:
        """Items as they change, for ever; close the iterator to end it. The first answer is empty: every change from
        then on is told. An item that went has no value and no version. No keys: everything. Outages are sat out, and
        what changed meanwhile is told after them."""
