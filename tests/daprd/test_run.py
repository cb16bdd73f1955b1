"""`evoke dapr run`, and programs that think they call Dapr's own command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.platform import LOOPBACK, spare
from tests.daprd.function import write
from tests.daprd.sidecar import component, subscription
from tests.platform import DEADLINE, EVOKE, processes, until
from tests.servers import listens

pytestmark = pytest.mark.broker

ROOT = Path(__file__).resolve().parent.parent.parent
UP = "You're up and running! Both Dapr and your app logs will appear here."
APP = '''
"""Takes events and calls, in the standard library; ends with 7 when it is told to."""
import http.server
import json
import os


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        print("TOOK", self.path, body.decode(), flush=True)
        if self.path == "/end":
            os._exit(7)
        self.answer(200, b'{"from": "%b"}' % os.environ["APP_ID"].encode())

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Handler).serve_forever()
'''


class Run:
    """One `evoke dapr run` in a home of its own."""

    def __init__(self, file: Path, process: subprocess.Popen[str]) -> None:
        self._file, self.process = file, process

    @property
    def output(self) -> str:
        return self._file.read_text()

    def says(self, text: str) -> None:
        def said() -> bool:
            assert text in self.output or self.process.poll() is None, self.output
            return text in self.output

        until(said, what=f"`{text}` in\n{self.output}")


def environ(home: Path) -> dict[str, str]:
    own = {"HOME": home, "XDG_RUNTIME_DIR": home / "run", "EVOKE_CACHE": home / "cache", "PYTHONPATH": ROOT}
    (home / "run").mkdir(parents=True, exist_ok=True)
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


@contextmanager
def running(home: Path, *words: str, output: str = "output") -> Iterator[Run]:
    command = [*EVOKE, "dapr", "run", *words]
    with (home / output).open("w") as file:
        process = subprocess.Popen(command, cwd=home, env=environ(home), stdout=file, stderr=file, text=True)
    try:
        yield Run(home / output, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EVOKE, "dapr", *words],
        env=environ(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "resources"
    folder.mkdir()
    (folder / "bus.yaml").write_text(json.dumps(component("pubsub.in-memory", {})))
    (folder / "orders.yaml").write_text(json.dumps(subscription("orders", route="/on-order")))
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_an_app_with_the_api_beside_it(home: Path) -> None:
    api, port = spare(), spare()
    flags = ("--app-id", "shop", "--app-port", str(port), "--dapr-http-port", str(api), "-d", "resources")
    with running(home, *flags, "--", sys.executable, "app.py") as run:
        run.says(UP)
        run.says("app shop is there")
        event = json.dumps({"n": 1}).encode()
        url = f"http://{LOOPBACK}:{api}/v1.0/publish/bus/orders"
        request = urllib.request.Request(url, event, {"content-type": "application/json"})
        assert urllib.request.urlopen(request, timeout=10).status == 204
        run.says("== APP == TOOK /on-order")
        assert '"data":{"n": 1}' in run.output

        listed = json.loads(command(home, "list", "-o", "json").stdout)
        assert [(one["appId"], one["httpPort"], one["appPort"]) for one in listed] == [("shop", api, port)]
        called = command(home, "invoke", "--app-id", "shop", "--method", "greet", "--data", '{"a": 2}')
        assert (called.returncode, json.loads(called.stdout.splitlines()[0])) == (0, {"from": "shop"})
        run.says('== APP == TOOK /greet {"a": 2}')
        sent = command(
            home, "publish", "--publish-app-id", "shop", "--pubsub", "bus", "--topic", "orders", "-d", '"two"'
        )
        assert (sent.returncode, "Event published successfully" in sent.stderr) == (0, True), sent.stderr
        until(lambda: run.output.count("TOOK /on-order") == 2, what="the second event")

        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(30) == 0
    assert not listens(port)
    assert not listens(api)
    assert command(home, "list").stdout == "No Dapr instances found.\n"


def test_it_ends_with_the_app_and_its_exit_code(home: Path) -> None:
    with running(home, "-a", "shop", "-p", str(spare()), "--", sys.executable, "app.py") as run:
        run.says("app shop is there")
        command(home, "invoke", "-a", "shop", "-m", "end")
        assert run.process.wait(30) == 7
        assert "The App process exited with error code: 7" in run.output


def test_nothing_is_left_of_a_run_that_was_killed(home: Path) -> None:
    port = spare()
    with running(home, "-a", "shop", "-p", str(port), "--", sys.executable, "app.py") as run:
        run.says("app shop is there")
        below = [pid for pid, parent, _ in processes() if parent == run.process.pid]
        assert len(below) == 2, "the broker and the app"
        run.process.kill()
        run.process.wait(30)
        until(lambda: not {pid for pid, _, _ in processes()} & set(below), what="the end of all that it started")
    assert command(home, "list").stdout == "No Dapr instances found.\n"
    with running(home, "-a", "shop", "-p", str(port), "--", sys.executable, "app.py", output="again") as run:
        run.says("app shop is there")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_function_of_ours_is_an_app_too(home: Path, protocol: str) -> None:
    write(home / "function")
    (home / "resources" / "orders.yaml").write_text(json.dumps(subscription("orders")))
    framework = (sys.executable, "-m", "functions_framework.command", "--source", "function/main.py")
    flags = ("-a", "shop", "-p", str(spare()), "-P", protocol, "-d", "resources")
    record = home / "record"
    with running(home, *flags, "--", "env", f"RECORD={record}", *framework, "--target", "record") as run:
        run.says("app shop is there")
        command(home, "publish", "-i", "shop", "-p", "bus", "-t", "orders", "-d", '{"fail": true}')
        until(lambda: record.exists() and len(record.read_text().splitlines()) == 2, what="both attempts")


def test_options_of_the_command_are_its_own(home: Path) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['DAPR_HTTP_PORT'].isdigit())"
    with running(home, "--app-id", "shop", sys.executable, "-c", code, "-p", "--app-id") as run:
        assert run.process.wait(30) == 0
        assert "== APP == ['-p', '--app-id'] True" in run.output


def test_an_unwell_app_gets_its_events_once_it_is_well(home: Path) -> None:
    sick = home / "sick"
    text = APP.replace("self.answer(404)", f"self.answer(503 if os.path.exists({str(sick)!r}) else 200, b'[]')")
    (home / "app.py").write_text(text)
    flags = ("-a", "shop", "-p", str(spare()), "-d", "resources", "--enable-app-health-check=true")
    health = ("--app-health-probe-interval", "1", "--app-health-threshold", "1", "--enable-api-logging=false")
    with running(home, *flags, *health, "--", sys.executable, "app.py") as run:
        run.says("app shop is there")
        sick.touch()
        run.says("app shop is unhealthy")
        command(home, "publish", "-i", "shop", "-p", "bus", "-t", "orders", "-d", '"kept"')
        assert "TOOK" not in run.output
        sick.unlink()
        run.says("app shop is healthy again")
        run.says("== APP == TOOK /on-order")


def test_several_apps_of_a_run_file_call_each_other(home: Path) -> None:
    entries = [
        {"appID": name, "appDirPath": ".", "appPort": spare(), "command": [sys.executable, "app.py"]}
        for name in ("front", "back")
    ]
    ports = dict(zip(("front", "back"), (spare(), spare()), strict=True))
    for entry in entries:
        entry["daprHTTPPort"] = ports[str(entry["appID"])]
    (home / "dapr.yaml").write_text(json.dumps({"version": 1, "apps": entries}))
    with running(home, "-f", ".") as run:
        run.says("app front is there")
        run.says("app back is there")
        url = f"http://{LOOPBACK}:{ports['front']}/v1.0/invoke/back/method/greet"
        with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=30) as reply:
            assert json.load(reply) == {"from": "back"}
        run.says("== APP - back == TOOK /greet {}")
        assert command(home, "stop", "-f", "dapr.yaml").returncode == 0
        assert run.process.wait(30) == 0


def test_a_token_that_nobody_asked_for_is_not_looked_at(home: Path) -> None:
    """Dapr's SDK for JavaScript sends the word undefined over gRPC where it knows of none."""
    api = spare()
    with running(home, "-a", "shop", "-H", str(api)) as run:
        run.says(UP.partition("Both")[0])
        url = f"http://{LOOPBACK}:{api}/v1.0/metadata"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"dapr-api-token": "undefined"})) as reply:
            assert json.load(reply)["id"] == "shop"


def test_a_run_file_of_one_app_says_what_run_files_say(home: Path) -> None:
    entry = {"appID": "alone", "appDirPath": ".", "command": [sys.executable, "-c", "print('at work')"]}
    (home / "dapr.yaml").write_text(json.dumps({"version": 1, "apps": [entry]}))
    with running(home, "-f", ".") as run:
        assert run.process.wait(30) == 0
        for line in ('Validating config and starting app "alone"', 'Started Dapr with app id "alone"', UP):
            assert line in run.output
        assert "== APP - alone == at work" in run.output


def test_apps_of_two_runs_call_each_other_by_id(home: Path) -> None:
    api, flags = spare(), ("--", sys.executable, "app.py")
    with running(home, "-a", "callee", "-p", str(spare()), *flags) as callee:
        callee.says("app callee is there")
        with running(home, "-a", "caller", "-H", str(api), "-p", str(spare()), *flags, output="caller") as caller:
            caller.says("app caller is there")
            url = f"http://{LOOPBACK}:{api}/v1.0/invoke/callee/method/greet"

            def called() -> bool:
                with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=30) as reply:
                    return bool(json.load(reply) == {"from": "callee"})

            until(called, what="the answer of the other run's app")


SUITE = '''
"""A test suite as those of Dapr's SDKs: it starts apps by shelling out, and waits for what the command prints."""
import subprocess
import sys

words = ["dapr", "run", "--app-id", "receiver", "--app-port", sys.argv[1], "--resources-path", "resources"]
app = subprocess.Popen([*words, "--", sys.executable, "app.py"], stdout=subprocess.PIPE, text=True)
for line in app.stdout:
    if "You're up and running! Both Dapr and your app logs will appear here." in line:
        break
sent = subprocess.run(
    ["dapr", "publish", "--publish-app-id", "receiver", "--pubsub", "bus", "--topic", "orders", "--data", '{"n": 5}'],
    check=True,
)
for line in app.stdout:
    if line.startswith("== APP == TOOK /on-order"):
        print(line.strip())
        break
subprocess.run(["dapr", "stop", "--app-id", "receiver"], check=True)
print("ended with", app.wait(30))
'''


def test_a_program_that_shells_out_works_with_a_shim(home: Path) -> None:
    shim = home / "bin" / "dapr"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {" ".join(EVOKE)} dapr "$@"\n')
    shim.chmod(0o755)
    (home / "suite.py").write_text(textwrap.dedent(SUITE))
    given = environ(home)
    given["PATH"] = f"{shim.parent}:{given['PATH']}"
    done: Any = subprocess.run(
        [sys.executable, "suite.py", str(spare())],
        cwd=home, env=given, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"data":{"n": 5}' in done.stdout
    assert "ended with 0" in done.stdout


def test_what_cannot_run_says_so_in_one_line(home: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        rows = [
            (("run", "-a", "x", "-H", port, "--", "true"), 1, f"port {port} is taken"),
            (("run", "-a", "x", "-P", "grpcs", "--", "true"), 2, "--app-protocol grpcs is not supported"),
            (("run", "-a", "x", "--unix-domain-socket", "/tmp", "--", "true"), 1, "--unix-domain-socket is not"),
            (("run", "-a", "x", "--dapr-listen-addresses", "0.0.0.0", "--", "true"), 1, "leave it out"),
            (("run", "-a", "x", "-d", "nowhere", "--", "true"), 1, "nowhere: does not exist"),
            (("run", "-a", "x", "--", "no-such-program"), 1, "no-such-program: no such file"),
            (("run", "-f", "nowhere"), 1, "nowhere: does not exist"),
            (("stop", "-a", "nobody"), 1, "couldn't find app id nobody"),
            (("invoke", "-a", "nobody", "-m", "x"), 1, "no app nobody runs"),
        ]
        for words, code, said in rows:
            done = command(home, *words)
            assert (done.returncode, said in done.stderr) == (code, True), (words, done.returncode, done.stderr)
            assert done.stderr.startswith("error: "), done.stderr


CLIENT = '''
"""An app that only calls: Dapr's SDK as it stands, with state, a stream and publishes."""
from dapr.clients import DaprClient

with DaprClient() as client:
    client.save_state("store", "greeting", "hello")
    print("state", client.get_state("store", "greeting").text(), flush=True)
    subscription = client.subscribe(pubsub_name="bus", topic="streamed")
    client.publish_event("bus", "streamed", '{"n": 1}', data_content_type="application/json")
    for message in subscription:
        print("streamed", message.data(), flush=True)
        subscription.respond_success(message)
        break
    subscription.close()
    print("app", client.get_metadata().application_id, flush=True)
'''


def test_an_app_with_the_unmodified_sdk(home: Path) -> None:
    (home / "resources" / "store.yaml").write_text(json.dumps(component("state.in-memory", {}, name="store")))
    (home / "client.py").write_text(CLIENT)
    with running(home, "-a", "caller", "-d", "resources", "--", sys.executable, "client.py") as run:
        run.says("app caller")
        assert run.process.wait(30) == 0
        for line in ("state hello", "streamed {'n': 1}", "app caller"):
            assert f"== APP == {line}" in run.output
