"""Logs of a function: one JSON object a line, with the call it belongs to; print and logging both end here.

EVOKE_LOG=json turns it on; LOG_EXECUTION_ID=true, Google's switch, does too. Else output stays as it is.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from functions_framework.invocation import running

MAX_LINE = 64 * 1024
"""Characters of one message; a longer one is cut, so that a reader never has to buffer more."""

_encoder = msgspec.json.Encoder(enc_hook=str)
_partial: ContextVar[str] = ContextVar("functions_framework_partial_line", default="")


class JsonLog:
    """Writes log lines to a descriptor, each with one write, so that lines of threads and processes never mix."""

    def __init__(self, descriptor: int, environ: Mapping[str, str]) -> None:
        self._descriptor = descriptor
        self._identity = {
            "function": environ.get("K_SERVICE", ""),
            "revision": environ.get("K_REVISION", ""),
            "replica": environ.get("POD_NAME", ""),
        }

    def write(self, severity: str, message: str, **more: Any) -> None:
        """Append one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": now, "severity": severity, "message": message[:MAX_LINE], **self._identity}
        invocation = running.get()
        if invocation is not None:
            line["call"] = invocation.call
            line["attempt"] = invocation.attempt
            if invocation.event is not None:
                line["event"] = invocation.event_id
        line.update(more)
        data = _encoder.encode(line) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return  # the log is gone (disk full, reader closed): a function must not fail by it


class Lines(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: each finished line becomes a log line of the call that printed it."""

    def __init__(self, log: JsonLog, severity: str, descriptor: int) -> None:
        super().__init__()
        self._log = log
        self._severity = severity
        self._descriptor = descriptor

    def write(self, text: str | bytes) -> int:
        """Keep the unfinished rest of a line for this thread or task."""
        size = len(text)
        text = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
        *whole, rest = (_partial.get() + text).split("\n")
        for line in whole:
            if line:
                self._log.write(self._severity, line)
        if len(rest) > MAX_LINE:
            self._log.write(self._severity, rest)
            rest = ""
        _partial.set(rest)
        return size

    @property
    def buffer(self) -> Lines:
        """Itself: those who write bytes to ``sys.stdout.buffer`` mean the same log."""
        return self

    def flush(self) -> None:
        """Nothing to do: finished lines are out already, and an unfinished one waits for its end."""

    def fileno(self) -> int:
        """Descriptor for those who go below Python."""
        return self._descriptor

    def writable(self) -> bool:
        """It is only written to."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # TextIOBase declares a plain attribute
        """Always UTF-8."""
        return "utf-8"


class JsonHandler(logging.Handler):
    """Sends records of ``logging`` to the same log."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record with its traceback."""
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                message += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
            self._log.write(record.levelname, message, logger=record.name)
        except Exception:  # a record that cannot be formatted is the caller's bug, reported as logging does
            self.handleError(record)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether this process logs in JSON."""
    return environ.get("EVOKE_LOG") == "json" or environ.get("LOG_EXECUTION_ID", "").lower() in {"1", "true"}


def install(environ: Mapping[str, str], descriptor: int = 1) -> JsonLog:
    """Make print and logging write JSON lines to *descriptor*."""
    log = JsonLog(descriptor, environ)
    sys.stdout = Lines(log, "INFO", descriptor)
    sys.stderr = Lines(log, "ERROR", 2)
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler(log)]
    level = environ.get("LOG_LEVEL", "INFO").upper()
    root.setLevel(level if level in logging.getLevelNamesMapping() else "INFO")
    return log


def end_of_call() -> None:
    """Write out what the call printed without ending the line."""
    rest = _partial.get()
    if rest and isinstance(sys.stdout, Lines):
        _partial.set("")
        sys.stdout.write(rest + "\n")
