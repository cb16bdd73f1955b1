"""Child processes that cannot outlive their parent, and the words for how one ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from controller.errors import AlreadyRunning

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl  # resolved here: nothing may be looked up between fork and exec
_OURS = os.getpid()


def die_with_parent() -> None:
    """Run between fork and exec: SIGKILL when the parent ends.

    The signal follows the forking *thread*, so children are started from main threads only.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != _OURS:  # it ended before the kernel knew
        os._exit(1)


def ending(code: int) -> str:
    """How a process ended, as a person says it; *code* is negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def alive(pid: int) -> bool:
    """Whether a process of this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lock:
    """The one holder of a state directory, known by a lock that the kernel drops when the holder dies."""

    def __init__(self, path: Path, state: Path) -> None:
        """Take the lock or raise AlreadyRunning with the holder's pid."""
        import fcntl

        self._file = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise AlreadyRunning(str(state), int(holder or 0)) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let the next one in; the file stays, so that nobody locks a file that is being removed."""
        self._file.truncate(0)
        self._file.close()


def private_directory(path: Path) -> Path:
    """Make *path* with mode 0700, owned by this user, or refuse a directory that somebody else prepared there."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner = path.stat().st_uid
    if owner != os.getuid() or path.is_symlink():
        raise PermissionError(f"{path} belongs to uid {owner}; remove it, or set XDG_RUNTIME_DIR")
    path.chmod(0o700)
    return path
