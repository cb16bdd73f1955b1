"""Programs of a real zygote as Dapr apps: found where they listen, asked what they take, watched, stopped, adopted."""

import asyncio
import os
import socket
import sys
from datetime import timedelta

import pytest

from api.meta import Key, RevisionKey, SecretKeyRef
from api.model import AppHealth, Env, Resources
from api.platform import free
from controller.local import tokens
from controller.local.app_facts import Binding
from controller.local.forks import Launch
from controller.local.questions import Questions
from tests.local.conftest import alive
from tests.local.test_fleet import BASE, KEY, Bench
from tests.platform import until

NEXT = RevisionKey("default", "f", "00002")
APP = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SUBSCRIBE = json.dumps([{"pubsubname": "orders", "topic": "new", "route": "/new"}])
state = {"healthy": True}


class App(BaseHTTPRequestHandler):
    def answer(self, status, body="{}"):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        if self.path == "/dapr/subscribe":
            self.answer(200, SUBSCRIBE)
        elif self.path == "/healthz":
            self.answer(200 if not os.path.exists(os.environ.get("SICK", "/none")) else 500)
        elif self.path == "/env":
            self.answer(200, json.dumps(dict(os.environ)))
        else:
            self.answer(404)

    def do_OPTIONS(self):
        self.answer(200 if self.path == "/tick" else 404)

    def log_message(self, *_):
        pass


print("starts", flush=True)
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App)
server.serve_forever()
"""
RUN = (sys.executable, "-u", "main.py")


class AppBench(Bench):
    """A bench whose code is a program, started with *env*."""

    def __init__(self, paths, code, env=None, declared=(), **fields):
        super().__init__(paths, code)
        self.env, self.fields, self.bindings = env or {}, {"env": declared, **fields}, ()
        self.fleet._bindings = lambda _: self.bindings

    def ensure(self, key=KEY, **fields):
        super().ensure(key, host="command", **{"command": RUN, "port": 0, **self.fields, **fields})

    async def _launch(self, workload):
        record = self.revisions.get(workload.key)
        listens = bool(record.descriptor.concurrency) if record.descriptor else None
        env = {"PATH": os.environ["PATH"], **self.env}
        return Launch(workload=workload, source=self.source, environment=BASE, env=env, listens=listens)

    async def started(self, count=1):
        self.ensure()
        self.fleet.set_wanted(KEY, count)
        await self.until(lambda: len(self.ready) == count)

    def endpoints(self, key=KEY):
        return self.agents.endpoints_of.get(key, ())


def run(go):
    return asyncio.run(go())


def spare():
    return next(port for port in range(9000, 9999) if free(port))


def test_a_program_is_asked_once_what_it_takes(paths, zygote):
    async def go():
        async with AppBench(paths, APP) as bench:
            bench.bindings = (Binding("output"), Binding("surely", sure=True), Binding("tick"))
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            return bench.record, bench.record.state(), bench.replicas.table()

    record, state, left = run(go)

    assert left == []
    assert state.checked
    assert state.credit == 32
    assert [(one.pubsub, one.topic, one.path) for one in state.declared.subscriptions] == [("orders", "new", "/new")]
    assert state.declared.bindings == ("surely", "tick")
    assert record.descriptor.handlers == ["/new (orders/new)", "/surely (binding)", "/tick (binding)"]


def test_each_replica_has_a_port_and_an_endpoint_of_its_protocol(paths, zygote):
    async def go():
        async with AppBench(paths, APP, concurrency=3) as bench:
            await bench.started(2)
            return bench.endpoints(), [one.port for one in bench.ready], bench.replicas.observed()

    endpoints, ports, observed = run(go)

    assert sorted(one.address for one in endpoints) == sorted(f"127.0.0.1:{port}" for port in ports)
    assert {(one.protocol, one.credit, one.batch) for one in endpoints} == {("http", 3, 0)}
    assert len(set(ports)) == 2
    assert {one.address for one in observed} == {one.address for one in endpoints}


def test_a_program_that_ends_says_its_last_words(paths, zygote):
    async def go():
        async with AppBench(paths, "print('no database'); raise SystemExit(7)") as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "CrashLoop"
    assert "exit code 7; its last words: no database" in record.message


def test_a_program_that_listens_elsewhere_is_told_so(paths, zygote):
    port, elsewhere = spare(), spare() + 1
    code = APP.replace('int(os.environ["APP_PORT"])', str(elsewhere))

    async def go():
        async with AppBench(paths, code, port=port, start_timeout=timedelta(seconds=2)) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "StartTimeout"
    assert f"does not listen on $APP_PORT={port} within 2 s; it listens at {elsewhere}" in record.message
    assert "its last words: starts" in record.message


def test_a_program_that_is_not_there_is_told_once(paths, zygote):
    async def go():
        async with AppBench(paths, "", command=("no-such-program",)) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "HandlerError"
    assert "E180 program no-such-program cannot be started: No such file or directory" in record.message


@pytest.mark.parametrize("answer", ['"nonsense"', '[{"pubsubname": "orders"}]'])
def test_a_declaration_that_does_not_hold_is_quoted(paths, zygote, answer):
    code = APP.replace("SUBSCRIBE = ", f"SUBSCRIBE = {answer!r} or ")

    async def go():
        async with AppBench(paths, code) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "DeclarationInvalid"
    assert "E150" in record.message


def test_a_server_with_an_answer_to_everything_declares_nothing(paths, zygote):
    code = APP.replace("self.answer(404)", "self.answer(200, '<html>')").replace(
        "SUBSCRIBE = ", "SUBSCRIBE = '<html>' or "
    )

    async def go():
        async with AppBench(paths, code) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            return bench.record

    record = run(go)

    assert record.app.declared.subscriptions == ()
    assert record.problem == ""


def test_an_app_that_dies_of_the_question_says_so(paths, zygote):
    code = APP.replace(
        "            self.answer(200, SUBSCRIBE)", "            print('a bad day', flush=True), os._exit(9)"
    )

    async def go():
        async with AppBench(paths, code) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "CrashLoop"
    assert record.message.startswith("ended when it was asked what it takes: exit code 9; its last words: ")
    assert record.message.endswith("a bad day")


def test_an_app_that_was_told_no_port_and_listens_elsewhere_is_told_so(paths, zygote, monkeypatch):
    monkeypatch.setattr("controller.local.apps.MOMENT", timedelta(seconds=1))
    elsewhere = spare()

    async def go():
        async with AppBench(paths, APP.replace('int(os.environ["APP_PORT"])', str(elsewhere))) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "StartTimeout"
    assert f"within 1 s; it listens at {elsewhere}: say so in dapr.io/app-port" in record.message


def test_an_app_that_only_calls_is_ready_once_it_runs(paths, zygote, monkeypatch):
    monkeypatch.setattr("controller.local.apps.MOMENT", timedelta(seconds=0.5))

    async def go():
        async with AppBench(paths, "import time\nprint('calls', flush=True)\ntime.sleep(600)\n") as bench:
            await bench.started()
            return bench.record, bench.endpoints(), bench.ready[0].start_ms

    record, endpoints, took = run(go)

    assert record.descriptor.handlers == ["only calls the Dapr API: it listens nowhere"]
    assert record.app.declared.subscriptions == ()
    assert endpoints == ()
    assert took < 500


def test_the_health_check_is_part_of_the_start_and_goes_on(paths, zygote, tmp_path):
    sick = tmp_path / "sick"
    health = AppHealth(every=timedelta(seconds=0.05), timeout=timedelta(seconds=0.5), threshold=2)

    async def go():
        async with AppBench(paths, APP, env={"SICK": str(sick)}, health=health) as bench:
            await bench.started()
            well = len(bench.endpoints())
            sick.touch()
            await bench.until(lambda: not bench.endpoints())
            told = bench.record.problem, bench.record.message
            sick.unlink()
            await bench.until(bench.endpoints)
            return well, told, bench.record.problem, len(bench.ready)

    well, (problem, message), after, ready = run(go)

    assert (well, problem, after, ready) == (1, "AppUnhealthy", "", 1)
    assert "gets nothing until it answers: GET /healthz failed 2 times in a row" in message


def test_a_sick_app_does_not_start(paths, zygote, tmp_path):
    health = AppHealth(every=timedelta(seconds=1), timeout=timedelta(seconds=0.2))

    async def go():
        env = {"SICK": str(tmp_path)}
        async with AppBench(paths, APP, env=env, health=health, start_timeout=timedelta(seconds=1.5)) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = run(go)

    assert record.problem == "StartTimeout"
    assert "listens, but is not healthy: /healthz; its last words: starts" in record.message


def test_a_fixed_port_has_one_replica_and_goes_to_the_newest_revision(paths, zygote):
    port = spare()

    async def go():
        async with AppBench(paths, APP, port=port) as bench:
            await bench.started()
            bench.fleet.set_wanted(KEY, 3)
            first = bench.ready[0]
            bench.ensure(NEXT)
            bench.fleet.set_wanted(NEXT, 1)
            await bench.until(lambda: bench.replicas.of(NEXT, "ready"))
            return port, first, bench.replicas.of(NEXT, "ready"), bench.replicas.of(KEY)

    port, first, second, old = run(go)

    assert first.gone.is_set()
    assert [one.port for one in second] == [port]
    assert old == []


def test_a_broken_revision_leaves_the_port_to_the_one_that_works(paths, zygote):
    port = spare()

    async def go():
        async with AppBench(paths, APP, port=port) as bench:
            await bench.started()
            bench.ensure(NEXT, command=("sh", "-c", "exit 3"))
            await bench.until(lambda: bench.fleet._pace(NEXT).broken and bench.ready, within=30)
            return bench.revisions.get(NEXT), bench.ready

    broken, ready = run(go)

    assert broken.problem == "CrashLoop"
    assert [one.port for one in ready] == [port]


def test_two_functions_that_want_one_port_take_turns(paths, zygote):
    port, other = spare(), RevisionKey("default", "other", "00001")

    async def go():
        async with AppBench(paths, APP, port=port) as bench:
            await bench.started()
            holder = bench.ready[0]
            bench.ensure(other)
            bench.fleet.set_wanted(other, 1)
            await bench.until(lambda: bench.revisions.get(other).problem)
            refused = bench.revisions.get(other)
            bench.fleet.set_wanted(KEY, 0)
            await bench.until(lambda: bench.replicas.of(other, "ready"))
            return holder, refused, bench.revisions.get(other).problem, bench.replicas.of(KEY)

    holder, refused, after, left = run(go)

    assert (refused.problem, after, left) == ("PortTaken", "", [])
    assert refused.message == f"port {port} is used by {holder.id}; let the app listen at $APP_PORT"


def test_a_fixed_port_that_somebody_else_has_is_named(paths, zygote):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        async def go():
            async with AppBench(paths, APP, port=port) as bench:
                bench.ensure()
                await bench.until(lambda: bench.record.problem)
                return bench.record

        record = run(go)

    assert record.problem == "PortTaken"
    assert f"another program listens at port {port}; let this one read $APP_PORT" in record.message


def test_stopping_ends_the_whole_group_and_sigterm_is_no_crash(paths, zygote, tmp_path):
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n" + APP
    )

    async def go():
        async with AppBench(paths, code) as bench:
            await bench.started()
            pid, child = bench.ready[0].pid, int((tmp_path / "pid").read_text())
            bench.fleet.set_wanted(KEY, 0)
            await bench.until(lambda: not bench.replicas.table())
            return pid, child, bench.record.problem

    pid, child, problem = run(go)

    assert not alive(pid)
    until(lambda: not alive(child), what="its end")
    assert problem == ""


def test_a_new_controller_adopts_an_app_and_knows_what_it_declared(paths, zygote):
    async def first():
        async with AppBench(paths, APP) as bench:
            await bench.started()
            return bench.ready[0], bench.record

    async def second():
        async with AppBench(paths, APP) as bench:
            return bench.ready, bench.endpoints(), bench.record, bench.apps.ports.lend("another")

    before, known = run(first)
    found, endpoints, record, port = run(second)

    assert [(one.id, one.pid, one.port) for one in found] == [(before.id, before.pid, before.port)]
    assert [one.address for one in endpoints] == [f"127.0.0.1:{before.port}"]
    assert record == known
    assert port != before.port


def test_what_a_killed_zygote_leaves_is_ended(paths, start_zygote, tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n" + APP
    )

    async def go():
        first = start_zygote()
        async with AppBench(paths, code) as bench:
            await bench.started()
            before, child = bench.ready[0], int((tmp_path / "pid").read_text())
            first.kill()
            start_zygote()
            await bench.until(lambda: bench.ready and bench.ready[0] is not before)
            return child

    child = run(go)
    until(lambda: not alive(child), what="its end")


def test_the_next_platform_ends_what_the_last_one_left(paths, start_zygote, tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n" + APP
    )

    async def first():
        async with AppBench(paths, code) as bench:
            await bench.started()
            return int((tmp_path / "pid").read_text())

    async def second():
        async with AppBench(paths, code):
            return list(paths.replicas.iterdir())

    zygote = start_zygote()
    child = run(first)
    zygote.kill()
    assert alive(child)
    start_zygote()

    assert run(second) == []
    until(lambda: not alive(child), what="its end")


def test_an_app_in_node_runs_within_its_memory(paths, zygote):
    program = """
        const http = require('http')
        http.createServer((request, response) => {
          const known = request.url === '/dapr/subscribe'
          response.writeHead(known ? 200 : 404)
          response.end(known ? '[]' : '')
        }).listen(process.env.APP_PORT, 'localhost')
    """

    async def go():
        async with AppBench(paths, "", command=("node", "app.js")) as bench:
            (bench.source / "app.js").write_text(program)
            bench.fields["resources"] = Resources()
            await bench.started()
            return bench.endpoints()

    assert len(run(go)) == 1


def test_an_app_is_asked_again_when_there_is_a_new_binding(paths, zygote):
    async def go():
        async with AppBench(paths, APP) as bench:
            questions = Questions(bench.revisions, bench.fleet, bench._launch, lambda _: bench.bindings)
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            first = bench.record.app
            questions.ask()
            bench.bindings = (Binding("other"), Binding("tick"))
            questions.ask()
            await bench.until(lambda: bench.record.app != first)
            started = len(bench.replicas.table())
            await bench.started()
            bench.bindings = (*bench.bindings, Binding("tock", path="/tick"))
            questions.ask()
            await bench.until(lambda: len(bench.record.app.asked) == 3)
            pids = {one.pid for one in bench.replicas.table()}
            await questions.stop()
            return first, started, pids, {one.pid for one in bench.ready}, bench.record.app.declared.bindings

    first, started, pids, ready, bindings = run(go)

    assert first.declared.bindings == ()
    assert started == 0
    assert pids == ready
    assert bindings == ("tick", "tock")


def test_a_new_token_brings_new_replicas_that_know_it(paths, zygote):
    token = Env("APP_API_TOKEN", SecretKeyRef(name="callers", key="token"))

    async def go():
        async with AppBench(paths, APP, declared=(token,)) as bench:
            await bench.started()
            first = bench.ready[0]
            tokens.renew(Key("default", "another"), bench.revisions, bench.fleet)
            unmoved = bench.ready == [first]
            tokens.renew(Key("default", "callers"), bench.revisions, bench.fleet)
            await bench.until(lambda: first.gone.is_set() and bench.ready)
            return unmoved, bench.agents.closes, bench.record.problem

    unmoved, closes, problem = run(go)

    assert unmoved
    assert [last for _, last in closes] == [False]
    assert problem == ""
