"""Amounts as Kubernetes writes them: ``500m`` of a cpu, ``256Mi`` of memory."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_FORM = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?", re.ASCII)
_SCALE = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
}


def parse(text: str | int) -> Decimal:
    """Read an amount; raises ValueError that says what is expected."""
    found = _FORM.fullmatch(str(text))
    if found is None:
        raise ValueError(f"`{str(text)[:40]}` is no amount: write it as `1`, `500m`, `256Mi` or `1Gi`")
    return Decimal(found[1]) * _SCALE[found[2] or ""]


def milli(text: str | int) -> int:
    """Thousandths, rounded up: cpu."""
    return math.ceil(parse(text) * 1000)


def whole(text: str | int) -> int:
    """Whole units, rounded up: bytes, processes."""
    return math.ceil(parse(text))
