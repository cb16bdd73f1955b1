"""The functions-framework command: Google's flags, environment variables and precedence.

A decorator wins over a flag, a flag over the environment, the environment over the defaults.
"""

from __future__ import annotations

import logging
import os
import socket
import sys

import click

from functions_framework import logs, reload, server
from functions_framework.app import App
from functions_framework.exceptions import LoadError
from functions_framework.loader import load
from functions_framework.zygote_wire import LoadFailure

KINDS = ("http", "event", "cloudevent", "typed", "batch", "openfunction")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--target", envvar="FUNCTION_TARGET", default="", help="function to run: name or module:name")
@click.option("--source", envvar="FUNCTION_SOURCE", default="main.py", show_default=True, help="file or directory")
@click.option(
    "--signature-type",
    envvar="FUNCTION_SIGNATURE_TYPE",
    type=click.Choice(KINDS),
    default=None,
    help="how an undecorated function is called  [default: http]",
)
@click.option("--host", envvar="HOST", default="0.0.0.0", show_default=True)
@click.option("--port", envvar=["PORT", "APP_PORT"], type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--protocol",
    envvar="APP_PROTOCOL",
    type=click.Choice(("http", "grpc")),
    default="http",
    show_default=True,
    help="grpc: Dapr's AppCallback, for a daprd that is told so",
)
@click.option("--debug", envvar="DEBUG", is_flag=True, help="start again when a source file changes")
@click.option("--dry-run", envvar="DRY_RUN", is_flag=True, help="load the function, tell about it, and end")
@click.option("--asgi", envvar="FUNCTION_USE_ASGI", is_flag=True, hidden=True, help="accepted: one server does both")
def main(  # noqa: PLR0913, PLR0917 - one parameter per option
    target: str,
    source: str,
    signature_type: str | None,
    host: str,
    port: int,
    protocol: str,
    debug: bool,
    dry_run: bool,
    asgi: bool,  # noqa: ARG001 - Google's flag
) -> None:
    """Serve one or several functions over HTTP."""
    if debug and not reload.is_child():
        sys.exit(reload.run(source))
    _logging(debug=debug)
    app = _app(source, target, signature_type)
    if dry_run:
        click.echo("Function: " + ", ".join(app.descriptor.handlers))
        click.echo(f"URL: {protocol}://{host}:{port}/")
        return
    if protocol == "grpc":
        _end(_grpc(app, host, port))
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listening = listener.getsockname()
    said = f"{', '.join(app.descriptor.handlers)} on http://{listening[0]}:{listening[1]}"
    status = server.run(app, [listener], on_ready=lambda: logging.getLogger("functions_framework").info(said))
    _end(status)


def _end(status: int) -> None:
    sys.stdout.flush()
    os._exit(status) if status else sys.exit(0)  # a thread that was cut off would hold the interpreter for ever


def _grpc(app: App, host: str, port: int) -> int:
    try:
        from functions_framework import grpc_app
    except ImportError as error:
        raise click.ClickException(f"--protocol grpc: {error}; add `dapr>=1.19` to the requirements") from None
    handlers = ", ".join(app.descriptor.handlers)
    told = logging.getLogger("functions_framework").info
    try:
        return grpc_app.run(app, host, port, on_ready=lambda bound: told(f"{handlers} on grpc://{host}:{bound}"))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _app(source: str, target: str, signature: str | None) -> App:
    threads = os.environ.get("THREADS", "")
    try:
        loaded = load(source, target, signature=signature, concurrency=int(threads) if threads.isdigit() else 0)
        return App(loaded, os.environ)
    except LoadError as error:
        raise click.ClickException(told(error.failure)) from None
    except ValueError as error:
        raise click.ClickException(f"FUNC_CONTEXT: {error}") from None


def told(failure: LoadFailure) -> str:
    """Tell a failure as a person reads it: the traceback, if there is one, and last the line that matters."""
    where = f"{failure.file}:{failure.line}: " if failure.line else ""
    return (failure.traceback and failure.traceback.rstrip() + "\n") + f"{failure.code} {where}{failure.message}"


def _logging(*, debug: bool) -> None:
    if logs.wanted(os.environ):
        logs.install(os.environ)
        return
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
