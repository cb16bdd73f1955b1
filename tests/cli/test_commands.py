"""Each command against a platform that answers from a table: what it asks for, what it prints, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from api.kinds import NAMES
from cli import kinds
from cli.commands import publish
from tests.cli import fake
from tests.cli.conftest import Evoke

YAML = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: hello
spec:
  serving:
    triggers:
      http: {}
"""
STATUS = {"replicas": 2, "revisions": [{"name": "00001"}, {"name": "00002"}], "addresses": [{"value": "http://h/x"}]}
FUNCTIONS = "/v1/functions/default/hello"
RESOURCE = "/v1/resources/function/default/hello"


def test_kinds_are_those_of_the_api() -> None:
    known = {name: info.singular for name, info in NAMES.items() if info.kind != "Secret"}

    ours = {name: kind for kind, names in kinds.ALIASES.items() for name in (kind, *names)}
    assert {name: kind for name, kind in ours.items() if name in known} == known
    assert {NAMES[kind].plural for kind in kinds.ORDER} == {kinds.plural(kind) for kind in kinds.ORDER}


def test_get_lists_in_columns(evoke: Evoke, platform: fake.Platform) -> None:
    items = [
        fake.resource("Function", "zoo", ready="False", reason="HandlerError"),
        fake.resource("Function", "hello", status=STATUS),
    ]
    platform.on("GET", "/v1/resources/function", {"items": items})

    said = evoke("get", "fn", "-l", "team=red")

    assert said.out.splitlines() == [
        "NAME   READY               REVISION  REPLICAS  URL         AGE",
        "hello  True                00002     2         http://h/x  -",
        "zoo    False/HandlerError  -         -         -           -",
    ]
    assert platform.asked[0][1] == "/v1/resources/function?namespace=default&labels=team%3Dred"
    assert json.loads(evoke("get", "fn", "-o", "json").out)["items"][0]["metadata"]["name"] == "hello"


def test_get_all_names_the_kind_of_each(evoke: Evoke, platform: fake.Platform) -> None:
    found = [fake.resource("Function", "hello"), fake.resource("EventBus", "default")]
    platform.on("GET", "/v1/resources/all", {"items": found})

    assert [line.split()[:2] for line in evoke("get", "all").out.splitlines()[1:]] == [
        ["function/hello", "True"],
        ["eventbus/default", "True"],
    ]


def test_nothing_there_is_no_error_and_stays_json(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": []})

    said = evoke("get", "functions")

    assert (said.code, said.out, said.err) == (0, "", "no functions in namespace default\n")
    assert json.loads(evoke("get", "functions", "-o", "json").out) == {"items": []}


@pytest.mark.parametrize("words", [("describe", "function", "helo"), ("logs", "helo"), ("scale", "helo", "--min", "1")])
def test_a_mistyped_name_finds_the_nearest(evoke: Evoke, platform: fake.Platform, words: tuple[str, ...]) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})

    said = evoke(*words)

    assert (said.code, said.out) == (1, "")
    assert said.err == "error: E194 no function named 'helo' in namespace default; did you mean 'hello'?\n"


def test_describe_begins_with_what_matters(evoke: Evoke, platform: fake.Platform) -> None:
    line = "1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 4 min 50 s"
    scaling = {"line": line, "desired": 1, "because": "nothing waits", "limiter": "cooldown", "inputs": {"credit": 1.0}}
    resource = fake.resource("Function", "hello")
    platform.on("GET", RESOURCE, resource)
    revision = {"name": "00001", "ready": True, "replicas": 1, "traffic": 100, "problem": ""}
    facts = {"scaling": scaling, "revisions": [revision], "deadLetters": 3, "url": "http://h/x"}
    platform.on("GET", f"{FUNCTIONS}/status", {**facts, "conditions": resource["status"]["conditions"]})

    lines = evoke("describe", "function/hello").out.splitlines()

    assert lines[:3] == [f"Ready True · {line} · dead letters 3", "", ""]
    assert "00001     True   1         100 %    -    -" in lines
    assert "scaling    1 wanted: nothing waits; limited by cooldown" in lines
    assert lines[-1] == "next       evoke dead-letters list hello"


def test_describe_says_why_not(evoke: Evoke, platform: fake.Platform) -> None:
    resource = fake.resource("EventSource", "readings", ready="False", reason="Unreachable")
    resource["status"]["conditions"][0]["message"] = "mqtt.example:1883 does not answer"
    platform.on("GET", "/v1/resources/eventsource/default/readings", resource)

    headline = evoke("describe", "es", "readings").out.splitlines()[0]

    assert headline == "Ready False Unreachable: mqtt.example:1883 does not answer"


def test_apply_sends_what_the_files_say(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML)
    warning = {"code": "E150", "path": "spec.x", "message": "not yet"}
    result = {"kind": "Function", "namespace": "default", "name": "hello", "outcome": "created", "warnings": [warning]}
    platform.on("POST", "/v1/apply", {"results": [result]})

    said = evoke("apply", "-f", "function.yaml", "--dry-run")

    assert (said.code, said.out) == (0, "function/hello created (dry run)\n")
    assert said.err == "warning: function/hello: E150 spec.x: not yet\n"
    sent = platform.bodies("POST")[0]
    assert sent["dryRun"] is True
    assert sent["documents"][0]["file"] == str(project / "function.yaml")
    assert sent["documents"][0]["resource"]["metadata"]["namespace"] == "default"


def test_apply_tells_every_mistake_and_asks_nobody(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML.replace("triggers", "trigers").replace("hello", "Hello"))

    said = evoke("apply", "-f", "function.yaml", "-o", "json")

    assert (said.code, said.out, platform.asked) == (2, "", [])
    assert len(said.err.splitlines()) == 2
    assert all(line.startswith("error: function.yaml:") for line in said.err.splitlines())
    assert "did you mean" in said.err


def test_apply_prints_what_the_platform_refused(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML)
    file = str(project / "function.yaml")
    problem = {"code": "E127", "message": "cannot be changed", "path": "spec.kind", "file": file, "line": 4}
    platform.on("POST", "/v1/apply", {"problems": [problem]}, status=422)

    said = evoke("apply", "-f", "function.yaml")

    assert (said.code, said.err) == (2, "error: function.yaml:4: E127 spec.kind: cannot be changed\n")


@pytest.mark.parametrize("path", ["missing.yaml", "empty.yaml", "folder"])
def test_apply_of_nothing_is_one_line(evoke: Evoke, platform: fake.Platform, project: Path, path: str) -> None:
    (project / "empty.yaml").write_text("---\n")
    (project / "folder").mkdir()

    said = evoke("apply", "-f", path)

    assert (said.code, said.err.count("\n"), platform.asked) == (2, 1, [])
    assert path in said.err


def test_delete_of_what_is_not_there_may_be_ignored(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": []})

    assert evoke("delete", "function", "hello").code == 1
    assert evoke("delete", "function", "hello", "--ignore-not-found").code == 0
    platform.on("DELETE", RESOURCE, {})
    assert evoke("delete", "function", "hello").out == "function/hello deleted\n"


def test_delete_by_labels_asks_first(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})
    platform.on("DELETE", RESOURCE, {})

    said = evoke("delete", "functions", "-l", "team=red")

    assert (said.code, platform.bodies("DELETE")) == (2, [])
    assert said.err == "error: E165 this asks before it acts, and there is no terminal; add --yes\n"
    assert evoke("delete", "functions", "-l", "team=red", "--yes").out == "function/hello deleted\n"


def test_publish_through_a_source_says_acknowledged(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("POST", "/v1/namespaces/default/sources/readings/publish", {"published": 1})

    said = evoke("publish", "sensors/kitchen", "--source", "readings", "-d", '{"celsius": 31}')

    assert (said.code, said.out, said.err) == (0, "published 1 (acknowledged)\n", "")
    assert platform.bodies("POST") == [{"topic": "sensors/kitchen", "payload": '{"celsius": 31}', "count": 1}]


def test_publish_to_a_bus_makes_events(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("POST", "/v1/namespaces/default/buses/default/publish", {"published": 3})

    said = evoke("publish", "alarms", "-d", '{"hot": 1}', "--key", "k", "--type", "alarm", "-c", "3", "-o", "json")

    assert json.loads(said.out) == {"published": 3}
    events = platform.bodies("POST")[0]["events"]
    assert len({event["id"] for event in events}) == 3
    assert events[0]["data"] == {"hot": 1}
    assert (events[0]["type"], events[0]["partitionkey"]) == ("alarm", "k")
    assert platform.asked[0][1].endswith("publish?subject=alarms")


def test_publish_that_was_not_stored_is_a_failure(evoke: Evoke, platform: fake.Platform) -> None:
    path = "/v1/namespaces/default/buses/default/publish"
    platform.on("POST", path, {"error": {"code": "E507", "message": "the bus is full"}}, status=507)

    said = evoke("publish", "alarms", "-d", "x")

    assert (said.code, said.out, said.err) == (1, "", "error: E507 the bus is full\n")


def test_publish_of_a_whole_event_keeps_it() -> None:
    whole = {"specversion": "1.0", "type": "t", "source": "/s", "id": "7", "data": 1}

    assert publish.event(json.dumps(whole).encode(), "other", "", "subject") == whole
    assert publish.event(b"\xff\xfe", "t", "", "s")["data_base64"] == "//4="
    assert publish.event(b"plain", "t", "", "s")["data"] == "plain"
    assert list(publish.portions(1200, 0)) == [500, 500, 200]
    assert list(publish.portions(5, 10)) == [1, 1, 1, 1, 1]


def test_tail_stops_after_so_many(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/namespaces/default/buses/default/tail", fake.Lines([{"id": "1"}, {"id": "2"}, {"id": "3"}]))

    assert evoke("tail", "alarms", "-c", "2", "--since", "1m").out == '{"id": "1"}\n{"id": "2"}\n'
    assert "since=1m" in platform.asked[0][1]


def test_logs_read_as_lines_and_stay_json(evoke: Evoke, platform: fake.Platform) -> None:
    entry = {"time": "2026-01-01T12:00:00.123Z", "severity": "ERROR", "message": "too hot", "attempt": 2}
    platform.on("GET", f"{FUNCTIONS}/logs", fake.Lines([entry]))

    assert evoke("logs", "hello").out.split("  ", 1)[1] == "ERROR too hot  (attempt 2)\n"
    assert json.loads(evoke("logs", "hello", "-o", "json").out) == entry


def test_scale_sends_bounds(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("POST", f"{FUNCTIONS}/scale", {"min": 1, "max": 10})

    assert evoke("scale", "hello", "--min", "1").out == "function/hello scales 1..10\n"
    assert evoke("scale", "hello", "--pause", "now").out == "function/hello paused\n"
    assert platform.bodies("POST") == [{"min": 1}, {"pause": True}]
    assert evoke("scale", "hello").code == 2
    assert evoke("scale", "hello", "--min", "3", "--max", "2").err == "error: E113 --min 3 is more than --max 2\n"


LETTERS = "/v1/namespaces/default/dead-letters/hello"


def test_dead_letters_are_listed_and_replayed(evoke: Evoke, platform: fake.Platform) -> None:
    letters = [{"id": "17", "attempts": 10, "reason": "exhausted", "error": {"message": "KeyError"}}]
    platform.on("GET", LETTERS, fake.Lines(letters))
    platform.on("POST", LETTERS, {"count": 1})

    assert evoke("dead-letters", "list", "hello").out.splitlines()[1].split() == [
        "17",
        "-",
        "10",
        "exhausted",
        "KeyError",
    ]
    assert evoke("dead-letters", "replay", "hello", "--id", "17").out == "replayed 1\n"
    assert (
        evoke("dead-letters", "replay", "hello").err == "error: E162 say which; give --id, --reason, --since or --all\n"
    )
    assert evoke("dead-letters", "replay", "hello", "--all", "--yes").out == "replayed 1\n"
    assert platform.bodies("POST") == [{"ids": ["17"]}, {"ids": None}]


def test_dead_letters_are_purged_only_when_told(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("DELETE", LETTERS, {"count": 2})

    assert evoke("dead-letters", "purge", "hello", "--all").code == 2
    assert evoke("dead-letters", "purge", "hello", "--id", "1", "--id", "2", "--yes").out == "purged 2\n"
    assert platform.asked[-1][1] == f"{LETTERS}?ids=1%2C2"


def test_secrets_come_from_stdin_or_a_file(
    evoke: Evoke, platform: fake.Platform, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    platform.on("POST", "/v1/secrets", {})
    (project / "ca.crt").write_text("line\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))

    assert evoke("secret", "set", "broker", "password").out == "secret/broker password set\n"
    assert evoke("secret", "set", "broker", "ca", "--from-file", "ca.crt").code == 0
    assert [body["value"] for body in platform.bodies("POST")] == ["s3cret", "line\n"]
    assert evoke("secret", "set", "broker", "ca", "--from-file", "missing").err.startswith("error: E160 missing:")


def test_top_shows_every_function(evoke: Evoke, platform: fake.Platform) -> None:
    row = {
        "namespace": "default",
        "function": "hello",
        "replicas": 1,
        "in_flight": 0,
        "lag": 7,
        "rate": 12.34,
        "dead": 0,
    }
    platform.on("GET", "/v1/top", [row])

    assert evoke("top").out.splitlines()[1].split() == ["hello", "1", "0", "7", "12.3", "-", "-", "0"]


def test_rollback_goes_through_the_controller(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("POST", f"{FUNCTIONS}/rollback", {"revision": "00001", "from": "00002"})

    said = evoke("rollback", "hello")

    assert said.out == "function/hello goes back from revision 00002 to the content of 00001\n"
    assert platform.bodies("POST") == [{"revision": None, "dryRun": False}]


@contextmanager
def gateway(platform: fake.Platform, status: int, body: bytes) -> Iterator[list[Any]]:
    """An HTTP front door that answers one thing; yields what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            asked.append((self.command, self.path, self.headers.get("content-type"), self.rfile.read(size)))
            self.send_response(status)
            self.send_header("x-call-id", "c-1")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - the base class names them so

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    platform.on("GET", "/v1/platform", {"http": f"127.0.0.1:{server.server_port}"})
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_invoke_prints_the_reply_and_says_how_it_went(evoke: Evoke, platform: fake.Platform) -> None:
    with gateway(platform, 200, b'{"hello": "Ada"}') as asked:
        said = evoke("invoke", "hello", "--path", "/a?b=1", "-d", '{"x": 1}')
        bytes_only = evoke("invoke", "hello", "--raw", "-q")

    assert (said.code, said.out) == (0, '{"hello": "Ada"}\n')
    assert said.err.startswith("200 OK in ")
    assert (bytes_only.out, bytes_only.err) == ('{"hello": "Ada"}', "")
    assert asked[0] == ("POST", "/function/default/hello/a?b=1", "application/json", b'{"x": 1}')
    assert asked[1][:2] == ("GET", "/function/default/hello/")


def test_invoke_fails_with_the_function(evoke: Evoke, platform: fake.Platform) -> None:
    with gateway(platform, 500, b"oops"):
        said = evoke("invoke", "hello")

    assert (said.code, said.out) == (1, "oops\n")
    assert said.err.endswith("error: E195 function/hello answered 500; see `evoke logs hello`\n")


def test_invoke_of_an_unknown_function_finds_the_nearest(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})
    with gateway(platform, 404, b""):
        said = evoke("invoke", "helo")

    assert said.code == 1
    assert said.err.endswith("error: E194 no function named 'helo' in namespace default; did you mean 'hello'?\n")


def test_invoke_with_a_missing_file_asks_nobody(evoke: Evoke, platform: fake.Platform) -> None:
    said = evoke("invoke", "hello", "-d", "@missing.json")

    assert (said.code, platform.asked) == (1, [])
    assert said.err == "error: E160 missing.json: no such file or directory; check the path\n"


def test_invoke_streams_a_file(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "big").write_bytes(b"x" * 300_000)
    with gateway(platform, 413, b"too large"):
        said = evoke("invoke", "hello", "-d", "@big")

    assert said.code == 1
    assert "answered 413" in said.err


def test_a_platform_that_breaks_off_is_one_line(evoke: Evoke, platform: fake.Platform) -> None:
    error = {"error": {"code": "E191", "message": "the broker does not answer", "hint": "see `evoke doctor`"}}
    platform.on("GET", "/v1/top", error, status=503)

    assert evoke("top").err == "error: E191 the broker does not answer; see `evoke doctor`\n"
