"""Stamps of one activation: put on PYTHONPATH by cold_start_platform.py, so that the product holds no measuring code.

Each stamp is a line ``<stage> <monotonic ns>`` in the file EVOKE_STAMPS; CLOCK_MONOTONIC is the same in all processes.
"""

import os
import sys
import time
from functools import wraps

FILE = os.environ.get("EVOKE_STAMPS")


def stamp(stage):
    os.write(HANDLE, b"%s %d\n" % (stage.encode(), time.monotonic_ns()))


def before(owner, name, stage, when=lambda *_: True):
    """Stamp *stage* as ``owner.name`` is called."""
    original = getattr(owner, name)

    @wraps(original)
    def stamped(*args, **kwargs):
        if when(*args):
            stamp(stage)
        return original(*args, **kwargs)

    setattr(owner, name, stamped)


def after(owner, name, stage, when=lambda _: True):
    """Stamp *stage* as the coroutine function ``owner.name`` has answered."""
    original = getattr(owner, name)

    @wraps(original)
    async def stamped(*args, **kwargs):
        result = await original(*args, **kwargs)
        if when(result):
            stamp(stage)
        return result

    setattr(owner, name, stamped)


def controller():
    from api.actions import SetReplicas
    from api.frames import Endpoints, Want
    from controller.local import forks
    from controller.local.substrate import LocalSubstrate
    from controller.local.zygotes import Zygote
    from functions_framework.zygote_wire import Fork
    from replicas.server import ControlServer

    before(ControlServer, "_receive", "want received", lambda _, __, frame: isinstance(frame, Want))
    before(LocalSubstrate, "execute", "scale decided", lambda _, one: isinstance(one, SetReplicas) and one.replicas > 0)
    before(Zygote, "start", "fork requested", lambda _, one, __: isinstance(one, Fork) and not one.check)
    after(Zygote, "start", "forked")
    after(forks, "_read_line", "status line")
    before(
        ControlServer,
        "_broadcast",
        "endpoints sent",
        lambda _, frame: isinstance(frame, Endpoints) and bool(frame.endpoints),
    )


def plane():
    from api.frames import Want
    from replicas.client import ControlClient
    from replicas.http import HttpClient
    from replicas.table import ReplicaTable

    before(ControlClient, "send", "want sent", lambda _, frame: isinstance(frame, Want))
    before(ReplicaTable, "update", "endpoints received", lambda _, frame: bool(frame.endpoints))
    before(HttpClient, "request", "request sent", lambda _, address, *__: address.startswith("unix:"))


if FILE:
    HANDLE = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if "controller.local.main" in sys.orig_argv:
        controller()
    elif "controller.local.plane" in sys.orig_argv:
        plane()
