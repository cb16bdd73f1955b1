"""What keeps a revision from running: counted for the back-off, and written where its status finds it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from api.errors import EvokeError, NotFound, Unavailable
from api.meta import RevisionKey
from controller.errors import StartFailed
from controller.local.forks import Running
from controller.local.revisions import Revisions
from controller.local.starts import Crashes, Pace

PLATFORM_TROUBLE = 2
"""Starts in a row that may fail for want of a zygote before the function's status speaks of it."""
TRIES = 3
"""Checks of a revision that may fail while another one has the port that it needs."""
_UNWELL = "AppUnhealthy"
_PORT = "PortTaken"


class Troubles:
    """Paces and problems of all revisions."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self.paces: dict[RevisionKey, Pace] = {}
        self._told: set[tuple[RevisionKey, str]] = set()

    def pace(self, revision: RevisionKey) -> Pace:
        return self.paces.setdefault(revision, Pace())

    def not_checked(self, revision: RevisionKey, error: EvokeError, *, contested: bool) -> None:
        """The check ended with *error*. Where it is *contested*, each try takes the port from a revision that works."""
        self.not_started(revision, error)
        pace = self.pace(revision)
        hopeless = isinstance(error, StartFailed) and (error.permanent or (contested and pace.crashes.count >= TRIES))
        pace.broken = pace.broken or hopeless

    def not_started(self, revision: RevisionKey, error: EvokeError) -> None:
        """A start ended with *error*."""
        if not isinstance(error, Unavailable):
            secret = "SecretNotFound" if isinstance(error, NotFound) else "CrashLoop"
            self.failed(revision, error.reason if isinstance(error, StartFailed) else secret, str(error))
            return
        pace, now = self.pace(revision), time.monotonic()  # the platform's trouble, not its own: told when it lasts
        if pace.crashes.not_before <= now:  # starts at the same time fail for the same cause
            pace.crashes = pace.crashes.after_failure(now)
        if pace.crashes.count > PLATFORM_TROUBLE:
            self._revisions.change(revision, problem="Starting", message=str(error))

    def crashed(self, replica: Running) -> None:
        """A replica that had been ready ended by itself."""
        ready_for = None if replica.ready_at is None else time.monotonic() - replica.ready_at
        reason = "OutOfMemory" if replica.reason.startswith("out of memory") else "CrashLoop"
        self.failed(replica.revision, reason, f"replica {replica.id} ended: {replica.reason}", ready_for)

    def failed(self, revision: RevisionKey, reason: str, message: str, ready_for: float | None = None) -> None:
        pace = self.pace(revision)
        pace.crashes = pace.crashes.after_failure(time.monotonic(), ready_for=ready_for)
        if pace.crashes.count > 1 or ready_for is None:
            self._revisions.change(revision, problem=reason, message=message)

    def recovered(self, revision: RevisionKey) -> None:
        """A replica has lived for as long as one should."""
        self.pace(revision).crashes = Crashes()
        self._revisions.change(revision, problem="", message="")

    def health(self, revision: RevisionKey, replicas: Iterable[Running]) -> None:
        """Which of the revision's ready *replicas* answer no probe."""
        unwell = next((one for one in replicas if one.unwell), None)
        said = f"replica {unwell.id} gets nothing until it answers: {unwell.unwell}" if unwell is not None else ""
        self._tell(revision, _UNWELL, said)

    def port(self, revision: RevisionKey, holder: Running | None) -> None:
        """Which function's replica has the port that the app insists on; None: none that does not make room."""
        said = f"port {holder.port} is used by {holder.id}; let the app listen at $APP_PORT" if holder else ""
        self._tell(revision, _PORT, said)

    def _tell(self, revision: RevisionKey, problem: str, message: str) -> None:
        """Write it, or take it back where it was written here and there is nothing to say any more."""
        record, told = self._revisions.get(revision), (revision, problem)
        if message:
            self._told.add(told)
            self._revisions.change(revision, problem=problem, message=message)
        elif told in self._told:
            self._told.discard(told)
            if record is not None and record.problem == problem:
                self._revisions.change(revision, problem="", message="")
