"""The whole local controller behind its socket: a real zygote below it, nobody on the control stream."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time

import pytest

from api import platform
from tests.local.conftest import alive, kill

CODE = """import functions_framework as ff

print("loading")

@ff.http
def hello(request):
    return "hi"
"""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("controller", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


class Controller:
    def __init__(self, paths):
        self.paths = paths
        self._log = (paths.state / "controller.log").open("ab")
        self.start()

    def start(self):
        words = ["--state", str(self.paths.state), "--run", str(self.paths.run)]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "controller.local.main", *words], stdout=self._log, stderr=self._log, cwd="/"
        )
        try:
            self.until(lambda: self.ask("GET", "/v1/platform"))
        except AssertionError:
            self.stop()
            raise

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self._log.close()

    def open(self, method, path, body=None):
        connection = Connection(self.paths.socket("controller"))
        connection.request(method, path, None if body is None else json.dumps(body))
        return connection, connection.getresponse()

    def ask(self, method, path, body=None, status=200):
        connection, reply = self.open(method, path, body)
        text = reply.read()
        connection.close()
        assert reply.status == status, text
        return json.loads(text)

    def lines(self, path):
        connection, reply = self.open("GET", path)
        text = reply.read().decode()
        connection.close()
        return [json.loads(line) for line in text.splitlines()]

    def apply(self, *documents, status=200, **how):
        sent = [{"resource": one, "file": "function.yaml", "line": 1} for one in documents]
        return self.ask("POST", "/v1/apply", {"documents": sent, **how}, status)

    def status(self, name="hello"):
        return self.ask("GET", f"/v1/functions/default/{name}/status")

    def condition(self, type_, name="hello"):
        return next((one for one in self.status(name)["conditions"] if one["type"] == type_), {})

    def until(self, fact, within=20.0):
        end = time.monotonic() + within
        while True:
            try:
                found = fact()
            except OSError:
                found = None
            if found:
                return found
            assert time.monotonic() < end, (self.paths.state / "controller.log").read_text()[-2000:]
            time.sleep(0.01)


@pytest.fixture
def controller(paths, zygote):
    ports = {name: f"127.0.0.1:{platform.spare()}" for name in platform.PREFERRED}
    platform.save(paths.state, platform.Platform(**ports, nats_user="u", nats_password="p", key="00" * 32))
    # the base environment of this test is the tool's own, so no zygote but the given one is needed
    made = Controller(paths)
    yield made
    made.stop()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "main.py").write_text(CODE)
    return folder


def function(source, name="hello", **serving):
    return {
        "apiVersion": "core.openfunction.io/v1beta2",
        "kind": "Function",
        "metadata": {"name": name, "annotations": {"evoke.dev/folder": str(source)}},
        "spec": {"serving": {"triggers": {"http": {}}, **serving}},
    }


def available(controller, name="hello"):
    return controller.until(lambda: controller.condition("Available", name).get("status") == "True")


def test_a_function_goes_from_yaml_to_a_replica_and_back(controller, source):
    assert controller.apply(function(source))["results"][0]["outcome"] == "created"
    available(controller)
    assert controller.apply(function(source))["results"][0]["outcome"] == "unchanged"

    controller.ask("POST", "/v1/functions/default/hello/scale", {"min": 1})
    replica = controller.until(lambda: [one for one in controller.status()["replicas"] if one["phase"] == "ready"])[0]
    assert alive(replica["pid"])
    assert controller.ask("GET", "/v1/resources/functions?namespace=default")["items"][0]["metadata"]["name"] == "hello"

    assert controller.ask("DELETE", "/v1/resources/function/default/hello")["outcome"] == "deleted"
    controller.until(lambda: not alive(replica["pid"]))
    assert controller.ask("GET", "/v1/resources/fn")["items"] == []
    assert controller.ask("GET", "/v1/functions/default/hello/status", status=404)["error"]["code"] == "E194"


def test_a_save_becomes_a_revision_and_a_broken_one_leaves_the_old(controller, source):
    controller.apply(function(source))
    available(controller)

    (source / "main.py").write_text("import functions_framework as ff\n\ndef broken(:\n")
    problem = controller.until(lambda: [one for one in controller.status()["revisions"] if one["problem"]])[0]
    assert problem["name"] == "00002"
    assert "main.py:3" in problem["problem"]
    assert [one["traffic"] for one in controller.status()["revisions"]] == [100, 0]

    (source / "main.py").write_text(CODE.replace("hi", "again"))
    controller.until(lambda: controller.status()["revisions"][-1]["traffic"] == 100)
    assert controller.status()["revisions"][-1]["name"] == "00003"

    answer = controller.ask("POST", "/v1/functions/default/hello/rollback", {"revision": "00001"})
    assert answer["revision"] == "00001"
    controller.until(lambda: controller.status()["revisions"][-1]["name"] == "00004")


def test_a_killed_controller_takes_its_replicas_over(controller, source):
    controller.apply(function(source))
    available(controller)
    controller.ask("POST", "/v1/functions/default/hello/scale", {"min": 1})
    before = controller.until(lambda: [one for one in controller.status()["replicas"] if one["phase"] == "ready"])[0]

    kill(controller.process.pid)
    controller.process.wait()
    controller.start()

    after = controller.until(lambda: controller.status()["replicas"])[0]
    assert (after["id"], after["pid"]) == (before["id"], before["pid"])
    assert controller.ask("GET", "/v1/platform")["epoch"] == 2


def test_nothing_is_applied_when_one_document_does_not_hold(controller, source):
    broken = {**function(source, "other"), "spec": {"servings": {}}}

    problems = controller.apply(function(source), broken, status=422)["problems"]

    assert "servings" in problems[0]["message"] or "servings" in problems[0]["path"]
    assert problems[0]["file"] == "function.yaml"
    assert controller.ask("GET", "/v1/resources/function")["items"] == []
    assert controller.apply(function(source), dryRun=True)["results"][0]["outcome"] == "created"
    assert controller.ask("GET", "/v1/resources/function")["items"] == []


def test_logs_outlive_their_replica_and_secrets_show_no_value(controller, source):
    controller.apply(function(source))
    available(controller)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}}
    controller.apply(secret)
    controller.ask("POST", "/v1/secrets", {"namespace": "default", "name": "s", "key": "other", "value": "hidden"})

    assert "loading" in [one["message"] for one in controller.lines("/v1/functions/default/hello/logs")]
    assert controller.ask("GET", "/v1/secrets")["items"] == [
        {"namespace": "default", "name": "s", "keys": ["k", "other"]}
    ]
    assert "hidden" not in json.dumps(controller.ask("GET", "/v1/resources/secret"))
    assert b"hidden" not in controller.paths.database.read_bytes()


def test_watchers_hear_what_happened_before_and_after(controller, source):
    controller.apply(function(source))
    available(controller)
    connection, reply = controller.open("GET", "/v1/watch?namespace=default&since=1h&logs=1")
    past = json.loads(reply.readline())
    controller.ask("DELETE", "/v1/resources/function/default/hello")

    seen = [past]
    while seen[-1]["type"] != "removed":
        seen.append(json.loads(reply.readline()))
    reply.close()
    connection.close()
    assert past["resource"] == "function/hello"


def test_unknown_things_are_named(controller):
    assert controller.ask("GET", "/v1/resources/cats", status=404)["error"]["hint"]
    assert controller.ask("GET", "/v1/nothing", status=404)["error"]["code"] == "E199"
    assert controller.ask("GET", "/v1/resources/function/default/no", status=404)["error"]["message"]
    bus = controller.ask("GET", "/v1/resources/eventbus/default/default")
    assert bus["metadata"]["name"] == "default"
