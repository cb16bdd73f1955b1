"""A forked child becomes a replica: its own session, descriptors, limits and environment; then the user's code.

Descriptors after the move: 0 /dev/null, 1 and 2 the log, 3 the listening socket, 4 the status pipe.
Exit status: 0 drained, 1 cut off, 3 the code could not be loaded.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from functions_framework import kernel, logs, server
from functions_framework.app import App
from functions_framework.exceptions import LoadError
from functions_framework.loader import IMPORT_TIMEOUT, load
from functions_framework.zygote_wire import Fork, LoadFailure, ReplicaStatus

LISTENER = 3
STATUS = 4
NOT_LOADED = 3
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What a replica inherits of the zygote's environment unless the request sets it."""

_encoder = msgspec.json.Encoder()


def become(request: Fork, descriptors: Sequence[int], parent: int) -> None:
    """Turn this fresh child into the replica *request* describes; never returns."""
    status = 1
    try:
        kernel.die_with(parent)
        _detach(descriptors)
        _settle(request)
        status = execute(request) if request.command else serve(request)
        atexit._run_exitfuncs()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # nothing may run on into the zygote's loop
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        os._exit(status)


def execute(request: Fork) -> int:
    """Become the program of *request*; returns only when that cannot be started. Its success closes the status pipe."""
    program = request.command[0]
    try:
        os.chdir(request.source)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(program, request.command, os.environ)  # noqa: S606 - argv as given, no shell
    except OSError as error:
        message = f"program {program} cannot be started: {error.strerror}"
        return _failed(os.fdopen(STATUS, "wb", buffering=0), LoadFailure(code="E180", message=message))


def serve(request: Fork) -> int:
    """Load the user's code, report, and serve until told to stop; returns the exit status."""
    report = os.fdopen(STATUS, "wb", buffering=0)
    if os.environ.get("EVOKE_LOG") == "json":
        logs.install(os.environ)
    try:
        os.chdir(request.source)
        timeout = timedelta(seconds=float(os.environ.get("EVOKE_IMPORT_TIMEOUT") or IMPORT_TIMEOUT.total_seconds()))
        loaded = load(".", request.target, concurrency=request.concurrency, timeout=timeout, several=False)
        app = App(loaded, os.environ)
    except LoadError as error:
        return _failed(report, error.failure)
    except OSError as error:
        return _failed(report, LoadFailure(code="E180", message=f"the code cannot be read: {error}"))
    except ValueError as error:  # of FUNC_CONTEXT or EVOKE_IMPORT_TIMEOUT: msgspec's errors are ValueErrors
        return _failed(report, LoadFailure(code="E180", message=f"environment: {error}"))
    if request.check:
        _tell(report, app.descriptor)
        return 0
    gc.collect()
    listener = socket.socket(fileno=LISTENER)

    def ready() -> None:
        _tell(report, app.descriptor)
        report.close()

    return server.run(app, [listener], on_ready=ready)


def _detach(descriptors: Sequence[int]) -> None:
    listener, log, status = descriptors
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    kernel.default_signals()
    kernel.place([nothing, log, log, listener, status])
    for number in (LISTENER, STATUS):
        os.set_inheritable(number, False)


def _settle(request: Fork) -> None:
    kernel.no_new_privileges()
    kernel.rename(request.env.get("K_SERVICE") or request.id)
    environment(request.env)
    kernel.limit(request.limits)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def environment(given: Mapping[str, str]) -> None:
    """Replace this process's environment by *given* and the few inherited names."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept | dict(given))
    if "TZ" in given:
        time.tzset()


def _failed(report: object, failure: LoadFailure) -> int:
    where = f" ({failure.file}:{failure.line})" if failure.file else ""
    print(f"{failure.code} {failure.message}{where}", file=sys.stderr)  # noqa: T201 - the log is the reader
    if failure.traceback:
        print(failure.traceback, file=sys.stderr)  # noqa: T201 - the log is the reader
    _tell(report, failure)
    return NOT_LOADED


def _tell(report: object, status: ReplicaStatus) -> None:
    """Write the one line; a starter that has gone does not matter to the replica."""
    data = _encoder.encode(status) + b"\n"
    try:
        report.write(data)  # type: ignore[attr-defined]  # an unbuffered FileIO
    except BrokenPipeError:
        return


def _flush(stream: object) -> None:
    try:
        stream.flush()  # type: ignore[attr-defined]  # a text stream, or what the user put in its place
    except Exception:  # the process ends here, whatever the stream is
        return
