"""What the child of a zygote asks of the kernel: die with the parent, own nothing foreign, gain nothing."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Sequence

from functions_framework.zygote_wire import Limits

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with(parent: int) -> None:
    """Get SIGKILL when *parent* ends, even if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def no_new_privileges() -> None:
    """Make set-uid programs powerless below this process."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def rename(name: str) -> None:
    """Show *name* in ps; 15 bytes of it."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def place(descriptors: Sequence[int]) -> None:
    """Move *descriptors* to 0, 1, 2... in order, and close every other."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, len(descriptors)) for descriptor in descriptors]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=True)
    os.closerange(len(descriptors), max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], max(high) + 1))


def default_signals() -> None:
    """Take back what the zygote had set."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def limit(limits: Limits) -> None:
    """Set rlimits: memory as RLIMIT_DATA, since threads reserve far more address space than they use.

    *pids* is left to cgroups: RLIMIT_NPROC counts all processes of the user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, value in ((resource.RLIMIT_DATA, limits.memory), (resource.RLIMIT_NOFILE, limits.open_files)):
        if value:
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (most, most))
