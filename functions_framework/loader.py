"""Load a user's code: find the file, import it under a reserved name, pick the handlers, or say exactly why not."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from functions_framework import decorators
from functions_framework.exceptions import (
    InvalidTargetTypeException,
    LoadError,
    MissingSourceException,
    MissingTargetException,
)
from functions_framework.handler import Declaration, Handler, Kind, declaration, default_concurrency, is_async
from functions_framework.signatures import guess_kind, mismatch, takes_context

RESERVED = "_functions_framework_user_"
"""User modules are registered under this prefix, so a file called ``json.py`` or ``redis.py`` shadows nothing."""

IMPORT_TIMEOUT = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a source offers."""

    handlers: tuple[Handler, ...]
    module: ModuleType
    duration: timedelta


class _Hung(BaseException):
    """The import took too long; not an Exception, so that user code does not swallow it."""


def load(
    source: str | Path,
    target: str = "",
    *,
    signature: str | None = None,
    concurrency: int = 0,
    timeout: timedelta = IMPORT_TIMEOUT,
    several: bool = True,
) -> Loaded:
    """Import *source* (file or directory) and return its handlers.

    *target* is ``name``, ``module:name``, or empty for every decorated function; unless *several*, these may be one
    that takes events and one that takes requests, since a platform's deliveries name no handler. A decorator wins
    over *signature*.

    Raises:
        LoadError: with the file, the line, the cause and what was expected.
    """
    started = time.monotonic()
    module_name, _, name = target.rpartition(":")
    if module_name and name == "":
        raise MissingTargetException(f"target {target!r} names no function; expected: module:name")
    path = _locate(Path(source), module_name)
    decorators.error_handlers.clear()
    module = _import(path, module_name, timeout)
    kind = _kind(signature, path)
    found = _declared(module)
    if name:
        handlers: tuple[Handler, ...] = (_handler(name, _target(module, name, found, path), kind, path),)
    elif found:
        handlers = tuple(_handler(label, function, kind, path) for label, function in found.items())
    else:
        handlers = (_undecorated(module, kind, path),)
    if not several:
        _unambiguous(handlers, path)
    if concurrency:
        handlers = tuple(replace(h, concurrency=concurrency) for h in handlers)
    return Loaded(handlers, module, timedelta(seconds=time.monotonic() - started))


def _locate(source: Path, module: str) -> Path:
    """Path of the file that holds the handlers."""
    if module:
        root = source if source.is_dir() else source.parent
        inner = Path(*module.split("."))
        for candidate in (root / inner.with_suffix(".py"), root / inner / "__init__.py"):
            if candidate.is_file():
                return candidate.resolve()
        raise MissingSourceException(f"no module {module} in {root}: there is no {inner}.py", file=str(inner) + ".py")
    if source.is_dir():
        main = source / "main.py"
        if main.is_file():
            return Path(os.path.realpath(main))
        files = sorted(p for p in source.glob("*.py") if not p.name.startswith(("test_", "conftest", "setup")))
        if len(files) == 1:
            return files[0].resolve()
        has = ", ".join(p.name for p in files) or "no Python file"
        raise MissingSourceException(f"{source} has no main.py ({has}): name the file, as in module:function")
    if not source.is_file():
        raise MissingSourceException(
            f"File {source} that is expected to define the function doesn't exist", file=str(source)
        )
    return source.resolve()


def _import(path: Path, module_name: str, timeout: timedelta) -> ModuleType:
    dotted = "." in module_name or path.name == "__init__.py"
    root = path.parent
    if dotted:
        parts = len(module_name.split("."))
        root = path.parents[parts if path.name == "__init__.py" else parts - 1]
    if str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        with _alarm(timeout):
            return _package_module(module_name, path) if dotted else _plain_module(path)
    except LoadError as error:
        raise _placed(error, root) from error
    except _Hung as hung:
        seconds = timeout.total_seconds()
        raise _failure(
            f"the import did not end within {seconds:g} s; move slow work into the handler", hung, root
        ) from None
    except SystemExit as error:
        raise _failure(f"the import called sys.exit({error.code!r})", error, root) from error
    except SyntaxError as error:
        text = f"{type(error).__name__}: {error.msg}"
        raise LoadError(text, file=_relative(error.filename or str(path), root), line=error.lineno or 0) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failure(f"{type(error).__name__}: {_first_line(error)}", error, root) from error


def _plain_module(path: Path) -> ModuleType:
    name = RESERVED + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MissingSourceException(f"{path.name} is no Python file", file=path.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _package_module(name: str, path: Path) -> ModuleType:
    module = importlib.import_module(name)
    if Path(module.__file__ or "").resolve() != path:
        raise LoadError(
            f"the name {name} belongs to {module.__file__ or 'the interpreter'}: rename the package", file=str(path)
        )
    return module


@contextmanager
def _alarm(timeout: timedelta) -> Iterator[None]:
    """Interrupt the body after *timeout*; only the main thread can, elsewhere the starter's own watch has to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Hung

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _declared(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the decorated functions that *module* shows, each once, under the name it was first bound to."""
    found: dict[int, tuple[str, Callable[..., Any]]] = {}
    for name, value in vars(module).items():
        if callable(value) and declaration(value) is not None:
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _functions(module: ModuleType) -> list[str]:
    return [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]


def _target(module: ModuleType, name: str, found: dict[str, Callable[..., Any]], path: Path) -> Callable[..., Any]:
    missing = object()
    value = found.get(name, getattr(module, name, missing))
    if value is missing:
        names = _functions(module)
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = ", ".join(names) or "none"
        raise MissingTargetException(
            f"File {path.name} is expected to contain a function named {name}; functions found: {listed}{hint}",
            file=path.name,
        )
    if not callable(value):
        raise InvalidTargetTypeException(
            f"{name} in {path.name} is a {type(value).__name__}, not a function; expected: def {name}(event)",
            file=path.name,
        )
    return value


def _unambiguous(handlers: tuple[Handler, ...], path: Path) -> None:
    for alike in ([h for h in handlers if h.kind.takes_events], [h for h in handlers if h.kind.takes_requests]):
        if len(alike) > 1:
            listed = ", ".join(str(h) for h in alike)
            raise MissingTargetException(f"{path.name} has several handlers, name one: {listed}", file=path.name)


def _undecorated(module: ModuleType, kind: Kind | None, path: Path) -> Handler:
    """Without decorators and target: the only public function of the file."""
    names = [n for n in _functions(module) if not n.startswith("_") and not isinstance(getattr(module, n), type)]
    if len(names) == 1:
        return _handler(names[0], getattr(module, names[0]), kind, path)
    listed = ", ".join(names) or "none"
    raise MissingTargetException(
        f"{path.name} decorates no function: put @functions_framework.cloud_event or .http above one, "
        f"or name a target; functions found: {listed}",
        file=path.name,
    )


def _handler(name: str, function: Callable[..., Any], configured: Kind | None, path: Path) -> Handler:
    noted = declaration(function) or Declaration(configured or guess_kind(function))
    code = getattr(function, "__code__", None)
    line = code.co_firstlineno if isinstance(code, CodeType) else 0
    if noted.kind is Kind.TYPED and noted.input_type is None:
        decorators.typed(function)
        noted = declaration(function) or noted
    wrong = mismatch(function, noted.kind, name)
    if wrong:
        raise InvalidTargetTypeException(wrong, file=path.name, line=line)
    size = noted.max_size if noted.kind is Kind.BATCH else 0
    return Handler(
        name=name,
        kind=noted.kind,
        function=function,
        takes_context=takes_context(function, noted.kind),
        max_size=size,
        input_type=noted.input_type,
        concurrency=default_concurrency(noted.kind, is_async=is_async(function), max_size=noted.max_size),
    )


def _kind(signature: str | None, path: Path) -> Kind | None:
    if not signature:
        return None
    try:
        return Kind(signature)
    except ValueError:
        kinds = ", ".join(Kind)
        raise LoadError(f"signature type {signature!r} is none of {kinds}", file=path.name) from None


def _failure(message: str, error: BaseException, root: Path) -> LoadError:
    """Point at the last line of the user's own code that the traceback shows."""
    file, line = "", 0
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(root) and "site-packages" not in frame.filename:
            file, line = _relative(frame.filename, root), frame.lineno or 0
    text = "".join(traceback.format_exception(error))
    return LoadError(message, file=file, line=line, traceback=text[-8192:])


def _placed(error: LoadError, root: Path) -> LoadError:
    if error.failure.line:
        return error
    placed = _failure(str(error), error, root).failure
    return type(error)(str(error), file=placed.file or error.failure.file, line=placed.line)


def _relative(file: str, root: Path) -> str:
    return os.path.relpath(file, root) if Path(file).is_relative_to(root) else file


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
