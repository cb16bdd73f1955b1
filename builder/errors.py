"""Errors of a build.

EvokeError
├── BuildFailed         *reason* is a False reason of condition Built
│   ├── SourceNotFound  E170
│   ├── LinkEscapes     E171
│   ├── OddFile         E172
│   ├── TreeTooLarge    E173
│   ├── ChangedWhileCopied  scan again
│   └── NoEnvironment   E183: the requirements cannot be installed
└── InvalidInput        requirements: E181 a refused option, E182 a refused requirement
"""

from __future__ import annotations

from api.errors import EvokeError


class BuildFailed(EvokeError):
    """The build ended with an error."""

    reason = "BuildFailed"


class SourceNotFound(BuildFailed):
    """The source folder is not there."""

    reason = "SourceNotFound"

    def __init__(self, path: str) -> None:
        super().__init__(f"source folder {path} does not exist", code="E170", hint="correct build.srcRepo.url")


class LinkEscapes(BuildFailed):
    """A link leads out of the tree."""

    def __init__(self, path: str, target: str) -> None:
        super().__init__(f"{path} links to {target}, outside the source folder", code="E171", hint="copy the file in")


class OddFile(BuildFailed):
    """Neither file, folder nor link."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is a device, pipe or socket", code="E172", hint="remove it from the source folder")


class TreeTooLarge(BuildFailed):
    """More than a bundle may hold."""

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(
            f"the source folder holds more than {limit} ({what})", code="E173", hint="point build.srcRepo at the code"
        )


class ChangedWhileCopied(BuildFailed):
    """The source folder changed while it was copied."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} changed while it was copied", hint="the next save builds it again")


class NoEnvironment(BuildFailed):
    """The requirements cannot be installed; the message has the installer's last line."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="E183", hint="correct requirements.txt")
