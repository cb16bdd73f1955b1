"""Settings of brokers and sources as the neutral model has them: text by wire name, or where a secret stands."""

from __future__ import annotations

import msgspec

from api.kinds.fields import ValueFrom
from api.meta import SecretKeyRef
from api.model import Option

_SHORT = {"username": "user"}
"""Wire name -> name of the option, where they differ."""


def read_options(settings: msgspec.Struct) -> dict[str, Option]:
    """Every set scalar by its wire name, ``username`` as ``user``; ``passwordFrom`` stands under ``password``."""
    found: dict[str, Option] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, ValueFrom):
            found[field.encode_name.removesuffix("From")] = SecretKeyRef(
                name=value.secret_ref.name, key=value.secret_ref.key
            )
        elif isinstance(value, bool):
            found[field.encode_name] = str(value).lower()
        elif isinstance(value, str | int):
            found[field.encode_name] = str(value)
    return {_SHORT.get(name, name): found[name] for name in sorted(found)}
