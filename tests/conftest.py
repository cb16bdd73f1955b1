"""What every test session needs."""

from __future__ import annotations

import hypothesis  # noqa: F401  # else its plugin imports, and so parses, it after the last test: see below

# CPython 3.11 fails to parse while a finalizer parses too (gh-106905), and the garbage of the last test may do that.
