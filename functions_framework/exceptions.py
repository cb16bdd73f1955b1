"""Errors of the framework, under the names that Google's framework gives them.

FunctionsFrameworkException
+- LoadError            user code cannot be loaded; carries a LoadFailure (E180)
|  +- InvalidConfigurationException, InvalidTargetTypeException, MissingSourceException, MissingTargetException
+- EventConversionException
"""

from __future__ import annotations

from functions_framework.zygote_wire import LoadFailure


class FunctionsFrameworkException(Exception):
    """Anything the framework itself refuses."""


class LoadError(FunctionsFrameworkException):
    """User code cannot be loaded; *failure* is what the platform shows."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, traceback: str = "") -> None:
        super().__init__(message)
        self.failure = LoadFailure(code="E180", message=message, file=file, line=line, traceback=traceback)


class InvalidConfigurationException(LoadError):
    """Settings contradict each other or the code."""


class InvalidTargetTypeException(LoadError):
    """The target is there, but it is no handler of its kind."""


class MissingSourceException(LoadError):
    """There is no such file."""


class MissingTargetException(LoadError):
    """The source has no such function."""


class EventConversionException(FunctionsFrameworkException):
    """A request carries neither a CloudEvent nor an event of Google's older format."""
