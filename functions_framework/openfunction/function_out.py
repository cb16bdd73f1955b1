"""What an OpenFunction function may leave in ``context.out``: the code, data, error and metadata of its answer."""

from __future__ import annotations

from typing import Any


class FunctionOut:
    """Answer of a function; code 0 means none was set."""

    def __init__(self, code: int, error: Any, data: Any, metadata: Any) -> None:
        self._code = code
        self._error = error
        self._data = data
        self._metadata = metadata

    def set_code(self, code: int) -> None:
        """Set the HTTP status."""
        self._code = code

    def get_code(self) -> int:
        """Return the HTTP status."""
        return self._code

    def set_error(self, error: Any) -> None:
        """Set the error; any but None fails the call."""
        self._error = error

    def get_error(self) -> Any:
        """Return the error."""
        return self._error

    def set_data(self, data: Any) -> None:
        """Set the body."""
        self._data = data

    def get_data(self) -> Any:
        """Return the body."""
        return self._data

    def set_metadata(self, metadata: Any) -> None:
        """Set the metadata."""
        self._metadata = metadata

    def get_metadata(self) -> Any:
        """Return the metadata."""
        return self._metadata

    def __repr__(self) -> str:
        return f"FunctionOut(code={self._code}, error={self._error}, data={self._data}, metadata={self._metadata})"
