"""``evoke dapr``: for programs, scripts and test suites that call Dapr's own command."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import msgspec
import typer

from api.platform import LOOPBACK, free, spare
from cli import about, output
from cli.dapr import calls, instances
from cli.dapr.flags import Flags
from cli.dapr.settings import AppRun, BadRun, Level, check
from cli.errors import Failed, NotYet, Usage
from cli.options import Session, command_line, new_app

app = new_app(group="Dapr's own command on our proxy: run an app with its sidecar's API, list, stop, invoke, publish.")

RUNTIME = "1.14.0"
"""What programs that ask for a version are told: the release of Dapr whose API this is."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_QUIET = "Accepted, and without effect: there is no sidecar."

app.info.cls = Flags

AppId = Annotated[str, typer.Option("-a", "--app-id", metavar="ID", help="The app's id; made up where none is given.")]
Port = Annotated[int, typer.Option("-p", "--app-port", min=0, max=65535, help="Where the app listens.")]
Resources = Annotated[
    list[Path] | None,
    typer.Option("-d", "--resources-path", "--components-path", metavar="DIR", help="Its YAML; may be given often."),
]


@command_line(
    app,
    example="""
    evoke dapr run --app-id orders --app-port 6001 --resources-path ./components -- python3 app.py
    evoke dapr run -f dapr.yaml
    """,
)
def run(  # noqa: PLR0913, PLR0917 - one parameter per flag of Dapr's command
    _session: Session,
    command: Annotated[list[str] | None, typer.Argument(metavar="[--] COMMAND...", help="The app.")] = None,
    app_id: AppId = "",
    app_port: Port = 0,
    app_protocol: Annotated[str, typer.Option("-P", "--app-protocol", help="http or grpc.")] = "http",
    app_channel_address: Annotated[str, typer.Option("--app-channel-address", help="This machine.")] = LOOPBACK,
    http_port: Annotated[int, typer.Option("-H", "--dapr-http-port", max=65535, help="0 or -1: any free one.")] = -1,
    grpc_port: Annotated[int, typer.Option("-G", "--dapr-grpc-port", max=65535, help="0 or -1: any free one.")] = -1,
    resources_path: Resources = None,
    config: Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="A Configuration.")] = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warn or error.")] = "info",
    app_max_concurrency: Annotated[int, typer.Option("--app-max-concurrency", help="Calls at once; -1: ours.")] = -1,
    enable_app_health_check: Annotated[bool, typer.Option("--enable-app-health-check", help="Ask it.")] = False,
    app_health_check_path: Annotated[str, typer.Option("--app-health-check-path", help="HTTP only.")] = "",
    app_health_probe_interval: Annotated[int, typer.Option("--app-health-probe-interval", help="Seconds.")] = 0,
    app_health_probe_timeout: Annotated[int, typer.Option("--app-health-probe-timeout", help="Milliseconds.")] = 0,
    app_health_threshold: Annotated[int, typer.Option("--app-health-threshold", help="Failures in a row.")] = 0,
    max_body_size: Annotated[str, typer.Option("-B", "--max-body-size", help="Such as 16Mi.")] = "",
    http_max_request_size: Annotated[int, typer.Option("--dapr-http-max-request-size", help="The same in MB.")] = 0,
    run_file: Annotated[Path | None, typer.Option("-f", "--run-file", metavar="FILE", help="Several apps.")] = None,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="Where what is durable lives.")] = None,
    listen_addresses: Annotated[str, typer.Option("--dapr-listen-addresses", help="This machine only.")] = LOOPBACK,
    unix_domain_socket: Annotated[str, typer.Option("-u", "--unix-domain-socket", help="Refused.")] = "",
    enable_api_logging: Annotated[bool, typer.Option("--enable-api-logging", hidden=True, help=_QUIET)] = False,
    internal_grpc_port: Annotated[int, typer.Option("-I", "--dapr-internal-grpc-port", hidden=True)] = -1,
    metrics_port: Annotated[int, typer.Option("-M", "--metrics-port", hidden=True)] = -1,
    profile_port: Annotated[int, typer.Option("--profile-port", hidden=True)] = -1,
    enable_profiling: Annotated[bool, typer.Option("--enable-profiling", hidden=True)] = False,
    placement: Annotated[str, typer.Option("--placement-host-address", hidden=True)] = "",
    scheduler: Annotated[str, typer.Option("--scheduler-host-address", hidden=True)] = "",
    runtime_path: Annotated[str, typer.Option("--runtime-path", hidden=True)] = "",
    read_buffer: Annotated[str, typer.Option("--dapr-http-read-buffer-size", "--read-buffer-size", hidden=True)] = "",
) -> None:
    """Run an app with Dapr's API beside it, as `dapr run` does. Without a command only the API is served.

    The app finds it by DAPR_HTTP_PORT and DAPR_GRPC_PORT. Ends with the app, with its exit code.
    """
    if unix_domain_socket:
        raise NotYet("--unix-domain-socket", hint="apps find the API by DAPR_HTTP_PORT and DAPR_GRPC_PORT")
    for option, given in (
        ("--app-channel-address", app_channel_address),
        ("--dapr-listen-addresses", listen_addresses),
    ):
        if given not in {LOOPBACK, "localhost"}:
            raise NotYet(f"{option} {given}", hint="app and API share this machine: leave it out")
    if log_level not in _LEVELS:
        raise Usage(f"--log-level {log_level} is not known", hint=f"choose {', '.join(_LEVELS)}")
    del enable_api_logging, internal_grpc_port, metrics_port, profile_port, enable_profiling
    del placement, scheduler, runtime_path, read_buffer
    if run_file is not None:
        from cli.dapr import run_file as files

        if command or app_id:
            raise Usage("--run-file names the apps: give neither a command nor --app-id")
        file = files.find(run_file)
        apps = files.load(file)
    else:
        file = None
        apps = (
            AppRun(
                id=app_id or f"app-{os.getpid()}",
                command=tuple(command or ()),
                folder=Path.cwd(),
                port=app_port,
                protocol=_protocol(app_protocol),
                http=max(http_port, 0),
                grpc=max(grpc_port, 0),
                resources=tuple(resources_path or _usual("components")),
                config=(config,) if config else tuple(_usual("config.yaml")),
                log_level=cast("Level", log_level),
                concurrency=max(app_max_concurrency, 0),
                health=enable_app_health_check,
                health_path=app_health_check_path,
                health_interval=app_health_probe_interval,
                health_timeout=app_health_probe_timeout,
                health_threshold=app_health_threshold,
                max_body=max_body_size or (f"{http_max_request_size}Mi" if http_max_request_size else ""),
            ),
        )
    name = file.absolute().parent.name if file else apps[0].key.name
    code = _serve(apps, state or _state(name), log_level, file)
    if code:
        raise typer.Exit(code)


app.registered_commands[-1].context_settings = {"allow_interspersed_args": False}  # options of COMMAND are its own


def _serve(apps: tuple[AppRun, ...], state: Path, level: str, file: Path | None) -> int:
    import uvloop

    from cli.dapr import resources, running

    logging.basicConfig(
        level=_LEVELS[level], format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    apps = tuple(msgspec.structs.replace(one, http=_port(one.http), grpc=_port(one.grpc)) for one in apps)
    check(apps)
    found = resources.load(apps)
    return uvloop.run(running.run(apps, found, state.absolute(), run_file=str(file.absolute() if file else "")))


def _port(wanted: int) -> int:
    if wanted and not free(wanted):
        raise BadRun(f"port {wanted} is taken", hint="leave it out for any free one")
    return wanted or spare()


def _protocol(text: str) -> Literal["http", "grpc"]:
    if text == "http" or not text:
        return "http"
    if text == "grpc":
        return "grpc"
    raise Usage(f"--app-protocol {text} is not supported", hint="http or grpc: proxy and app share a machine")


def _usual(name: str) -> list[Path]:
    """What Dapr's command reads where nothing is named."""
    path = Path.home() / ".dapr" / name
    return [path] if path.exists() else []


def _state(name: str) -> Path:
    cache = Path(os.environ.get("EVOKE_CACHE") or Path.home() / ".cache" / "evoke")
    return cache / "dapr" / name


@command_line(app, "list", example="evoke dapr list -o json")
def list_(session: Session) -> None:
    """List the apps that run by `evoke dapr run` on this machine."""
    found = instances.running()
    rows = [
        [
            one.id,
            str(one.http),
            str(one.grpc),
            str(one.port),
            one.command,
            f"{one.since:%Y-%m-%d %H:%M:%S}",
            str(one.pid),
        ]
        for one in found
    ]
    facts: list[dict[str, Any]] = [
        {
            "appId": one.id,
            "httpPort": one.http,
            "grpcPort": one.grpc,
            "appPort": one.port,
            "command": one.command,
            "created": f"{one.since:%Y-%m-%d %H:%M.%S}",
            "daprdPid": one.pid,
            "cliPid": one.pid,
            "appPid": one.app_pid,
            "runTemplatePath": one.run_file,
        }
        for one in found
    ]
    if session.out.structured:
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    elif rows:
        header = ["APP ID", "HTTP PORT", "GRPC PORT", "APP PORT", "COMMAND", "CREATED", "PID"]
        session.out.show({"items": facts}, output.table(header, rows))
    else:
        sys.stdout.write("No Dapr instances found.\n")


@command_line(app, example="evoke dapr stop --app-id orders")
def stop(
    session: Session,
    app_ids: Annotated[list[str] | None, typer.Argument(metavar="[APP-ID]...", help="The apps.")] = None,
    app_id: Annotated[
        list[str] | None, typer.Option("-a", "--app-id", metavar="ID", help="May be given often.")
    ] = None,
    run_file: Annotated[Path | None, typer.Option("-f", "--run-file", metavar="FILE", help="Its apps.")] = None,
) -> None:
    """End apps; each with all that it started."""
    wanted = [*(app_ids or ()), *(app_id or ())]
    known = instances.running()
    if run_file is not None:
        from cli.dapr import run_file as files

        path = str(files.find(run_file).absolute())
        wanted += [one.id for one in known if one.run_file == path]
    if not wanted:
        raise Usage("name an app", hint="evoke dapr stop --app-id ID")
    missing = [name for name in wanted if name not in {one.id for one in known}]
    for one in known:
        if one.id in wanted:
            instances.stop(one)
            session.out.talk(f"✅  app stopped successfully: {one.id}")
    if missing:
        raise Failed(f"❌  failed to stop app id {missing[0]}: couldn't find app id {missing[0]}")


@command_line(app, example="evoke dapr invoke --app-id orders --method hello --data '{}'")
def invoke(
    session: Session,
    app_id: AppId = "",
    method: Annotated[str, typer.Option("-m", "--method", help="Path below the app.")] = "",
    data: Annotated[str, typer.Option("-d", "--data", help="JSON.")] = "",
    data_file: Annotated[Path | None, typer.Option("-f", "--data-file", metavar="FILE", help="The same.")] = None,
    verb: Annotated[str, typer.Option("-v", "--verb", help="HTTP verb.")] = "POST",
) -> None:
    """Call a method of an app."""
    if not app_id or not method:
        raise Usage("an app and a method are needed", hint="--app-id ID --method NAME")
    one = instances.named(app_id)
    path = f"/v1.0/invoke/{quote(one.id)}/method/{method.lstrip('/')}"
    status, body = calls.call(one, verb.upper(), path, calls.body_of(data, data_file))
    if status >= 400:
        raise Failed(f"app {app_id} answered {status}: {body[:500].decode('utf-8', 'replace')}")
    sys.stdout.write(body.decode("utf-8", "replace") + "\n")
    session.out.talk("✅  App invoked successfully")


@command_line(app, example="evoke dapr publish -i orders --pubsub bus --topic new --data '{\"id\": 1}'")
def publish(
    session: Session,
    app_id: Annotated[str, typer.Option("-i", "--publish-app-id", metavar="ID", help="Who publishes.")] = "",
    pubsub: Annotated[str, typer.Option("-p", "--pubsub", help="The component.")] = "",
    topic: Annotated[str, typer.Option("-t", "--topic", help="The topic.")] = "",
    data: Annotated[str, typer.Option("-d", "--data", help="JSON, or a CloudEvent.")] = "",
    data_file: Annotated[Path | None, typer.Option("-f", "--data-file", metavar="FILE", help="The same.")] = None,
    metadata: Annotated[str, typer.Option("-m", "--metadata", help="A JSON object.")] = "",
) -> None:
    """Publish an event as an app."""
    if not (app_id and pubsub and topic):
        raise Usage("who, where and what are needed", hint="--publish-app-id ID --pubsub NAME --topic TOPIC")
    one = instances.named(app_id)
    body = calls.body_of(data, data_file)
    query = "&".join(f"metadata.{quote(k)}={quote(str(v))}" for k, v in calls.members(metadata).items())
    path = f"/v1.0/publish/{quote(pubsub, safe='')}/{quote(topic)}" + (f"?{query}" if query else "")
    event = (
        isinstance(found := calls.members(body.decode("utf-8", "replace"), strict=False), dict)
        and "specversion" in found
    )
    status, answer = calls.call(
        one, "POST", path, body, "application/cloudevents+json" if event else "application/json"
    )
    if status >= 300:
        raise Failed(f"not published: {status} {answer[:500].decode('utf-8', 'replace')}")
    session.out.talk("✅  Event published successfully")


@command_line(app, example="evoke dapr version")
def version(session: Session) -> None:
    """Show which release of Dapr this speaks as."""
    if session.out.structured:
        session.out.show({"Cli version": about.line(), "Runtime version": RUNTIME}, "")
    else:
        sys.stdout.write(f"CLI version: {about.line()}\nRuntime version: {RUNTIME}\n")
