"""The W3C trace context of a request; what does not hold counts as none (Trace Context, section 3.2); pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
LONGEST_STATE = 512


def context(lines: Sequence[tuple[bytes, bytes]]) -> tuple[str, str]:
    """traceparent and tracestate; both empty without a traceparent that holds."""
    parent, state = b"", b""
    for name, value in lines:
        if name == b"traceparent":
            parent = value
        elif name == b"tracestate":
            state = value
    if not parent or not _PARENT.fullmatch(parent):
        return "", ""
    return parent.decode("ascii", "replace"), state.decode("ascii", "replace") if len(state) <= LONGEST_STATE else ""
