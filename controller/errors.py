"""Errors of the controller.

EvokeError
├── Conflict           somebody else changed it, or it is already so (exit 1, HTTP 409)
├── NotHere            this substrate cannot do that (exit 1, HTTP 422)
├── Unavailable
│   ├── AlreadyRunning another platform holds this state
│   └── PortTaken      somebody else listens where the gateway should
└── StartFailed        a replica did not become ready; carries the Available reason
"""

from __future__ import annotations

from api.errors import EvokeError, Unavailable


class Conflict(EvokeError):
    """Somebody else changed it in the meantime."""


class NotHere(EvokeError):
    """This substrate cannot do that."""


class AlreadyRunning(Unavailable):
    """Another platform holds this state."""

    def __init__(self, state: str, pid: int) -> None:
        super().__init__(
            f"a platform already runs on {state} (pid {pid})",
            code="E190",
            hint="stop it with `evoke down`, or name another --state",
        )


class PortTaken(Unavailable):
    """Somebody else listens where the gateway should."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is in use", code="E192", hint="choose another one with --port")


class StartFailed(EvokeError):
    """A replica did not become ready; *reason* is a reason of condition Available."""

    def __init__(self, reason: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.reason, self.permanent = reason, permanent
