"""Commands that work with functions and events, against a platform that answers from a table."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cli.commands import publish
from cli.errors import Usage
from tests.cli import fake
from tests.cli.conftest import Evoke

FUNCTIONS = "/v1/functions/default/hello"


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
    assert publish.event(b'{"a": NaN}', "t", "", "s")["data"] == '{"a": NaN}'
    assert publish.event(b'{"a": 1, "a": 2}', "t", "", "s")["datacontenttype"] == "text/plain"
    with pytest.raises(Usage, match="E141 JSON has the name 'id' twice at offset 33"):
        publish.event(b'{"specversion": "1.0", "id": "1", "id": "2"}'.replace(b'"1", ', b'"1",', 1), "t", "", "s")
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


LETTER = {
    "id": "0-17", "reason": "rejected", "error": "no \x1b amount", "attempts": 1, "at": "2026-01-31T12:00:00Z",
    "subject": "orders", "event_id": "1", "event_source": "/s", "key": "ada",
    "event": {"id": "1", "data": {"n": "\u00e9"}},
}  # fmt: skip


def test_a_dead_letter_is_shown_whole(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", LETTERS, fake.Lines([LETTER]))

    lines = evoke("dead-letters", "show", "hello", "--limit", "1").out.splitlines()
    assert lines[:4] == ["id        0-17", "reason    rejected", "error     no \\x1b amount", "attempts  1"]
    assert lines[lines.index("") + 1 :][:2] == ["{", '  "id": "1",']
    assert platform.asked[-1][1] == f"{LETTERS}?limit=1"
    assert json.loads(evoke("dead-letters", "show", "hello", "-o", "json").out) == LETTER
    assert evoke("dead-letters", "show", "hello", "--bytes", "octal").err.startswith("error: E162 ")
    missing = evoke("dead-letters", "show", "hello", "--id", "0-18")
    assert (missing.code, missing.err.split(";")[0]) == (1, "error: E194 no dead letter 0-18 of hello")


def test_the_bytes_of_a_dead_letter(evoke: Evoke, platform: fake.Platform) -> None:
    """Bytes that are no JSON come in base64, and are shown so that no terminal suffers."""
    encoded = base64.b64encode(b"\xffnot \x1b[2J json, and seventeen").decode()
    letter = {name: value for name, value in LETTER.items() if name != "event"} | {"payload_base64": encoded}
    platform.on("GET", LETTERS, fake.Lines([letter]))

    assert evoke("dead-letters", "show", "hello", "--bytes", "base64").out.splitlines()[-1] == encoded
    assert platform.asked[-1][1] == f"{LETTERS}?bytes=1"
    for form in ("hex", "json"):
        first, second = evoke("dead-letters", "show", "hello", "--bytes", form).out.splitlines()[-2:]
        assert first == "00000000  ff 6e 6f 74 20 1b 5b 32 4a 20 6a 73 6f 6e 2c 20  .not .[2J json, "
        assert second.startswith("00000010  61 6e 64 ")


def test_many_are_purged_in_portions(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", LETTERS, fake.Lines([LETTER | {"id": f"0-{n}"} for n in range(450)]))
    platform.on("DELETE", LETTERS, {"count": 150})

    assert evoke("dead-letters", "purge", "hello", "--reason", "rejected", "--yes").out == "purged 450\n"
    assert max(len(target) for verb, target, _ in platform.asked if verb == "DELETE") < 4000


def test_dead_letters_complete_their_triggers(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/trigger", {"items": [fake.resource("Trigger", "low-battery")]})
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "lower")]})

    assert evoke("__complete", "dead-letters", "show", "lo").out.split() == ["low-battery", "lower"]
    assert evoke("__complete", "dead-letters", "show", "lower", "").out == ""


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


def test_invoke_says_that_a_function_has_no_http_trigger(evoke: Evoke, platform: fake.Platform) -> None:
    conditions = [{"type": "Routed", "status": "True", "reason": "NotExposed"}]
    platform.on("GET", "/v1/functions/default/hello/status", {"conditions": conditions})
    with gateway(platform, 404, b""):
        said = evoke("invoke", "hello")

    assert said.code == 1
    assert "error: E195 function/hello has no HTTP trigger; give it `http: {}` in serving.triggers" in said.err


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
