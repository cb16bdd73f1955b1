"""What handlers send: against a Dapr API that answers over HTTP, before the reply, with order, trace and hops kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread
from typing import Any

import pytest

from tests.functions_framework.harness import answer, app, ask, bulk, event, request, statuses, structured, text


class DaprApi(ThreadingHTTPServer):
    """Keeps what is posted; answers with *refuse* where it is set."""

    allow_reuse_address = False
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.refuse: dict[str, tuple[int, Any]] = {}
        self.path = path
        super().__init__(str(path), Answers)  # type: ignore[arg-type]  # the path of a Unix socket

    address_family = UnixStreamServer.address_family

    def server_bind(self) -> None:
        UnixStreamServer.server_bind(self)  # type: ignore[arg-type]  # HTTPServer's own asks for a port

    def handle_error(self, *_: Any) -> None:
        """A function that has ended resets its idle connections: nothing to report."""


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DaprApi

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        path = self.path.partition("?")[0]
        self.server.posts.append((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        status, found = self.server.refuse.get(path, (204, None))
        data = b"" if found is None else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def dapr(tmp_path) -> Iterator[DaprApi]:
    server = DaprApi(tmp_path / "dapr.sock")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


OUTPUTS = {
    "alerts": {"uri": "alerts", "componentName": "default", "componentType": "pubsub", "metadata": {"raw": "1"}},
    "mail": {"componentName": "smtp", "componentType": "bindings.smtp", "operation": "create"},
}


def environ(dapr: DaprApi, *outputs: str) -> dict[str, str]:
    context = {"name": "f", "outputs": {name: OUTPUTS[name] for name in outputs}}
    return {
        "EVOKE_DAPR_SOCKET": str(dapr.path),
        "DAPR_API_TOKEN": "secret",
        "FUNC_CONTEXT": json.dumps(context),
        "K_SERVICE": "f",
        "POD_NAMESPACE": "shop",
    }


RETURNS = """
    import functions_framework as ff

    @ff.cloud_event
    {how} handle(event):
        return event.data
"""


@pytest.mark.parametrize("how", ["def", "async def"])
def test_a_returned_value_is_published_before_the_reply(tmp_path, dapr, how):
    application = app(tmp_path, RETURNS.format(how=how), environ=environ(dapr, "alerts"))
    cause = event(id="7", data={"a": 1}, partitionkey="v-7", traceparent="00-ab-cd-01", evokehops=2)

    (reply,) = ask(application, structured(cause, evoke_trigger="t"))

    assert answer(reply) == {"status": "SUCCESS"}
    ((path, headers, sent),) = dapr.posts
    assert path == "/v1.0/publish/default/alerts?metadata.raw=1"
    assert headers["dapr-api-token"] == "secret"
    assert headers["content-type"] == "application/cloudevents+json"
    assert (sent["source"], sent["type"], sent["data"]) == ("f-shop", "com.dapr.event.sent", {"a": 1})
    assert (sent["partitionkey"], sent["traceparent"], sent["evokehops"]) == ("v-7", "00-ab-cd-01", 3)


def test_a_retried_event_publishes_the_same_id_again(tmp_path, dapr):
    application = app(tmp_path, RETURNS.format(how="def"), environ=environ(dapr, "alerts"))

    again = [structured(event(id=i, data=1), evoke_trigger="t") for i in ("1", "1", "2")]
    ask(application, *again)

    first, second, other = [sent["id"] for _, _, sent in dapr.posts]
    assert first == second != other


@pytest.mark.parametrize(
    ("value", "kind", "member"),
    [
        ("'text'", "text/plain", {"data": "text"}),
        ("b'\\x00\\xff'", "application/octet-stream", {"data_base64": base64.b64encode(b"\x00\xff").decode()}),
        ("[1]", "application/json", {"data": [1]}),
        ("0", "application/json", {"data": 0}),
    ],
)
def test_values_travel_by_their_type(tmp_path, dapr, value, kind, member):
    source = RETURNS.format(how="def").replace("event.data", value)

    ask(app(tmp_path, source, environ=environ(dapr, "alerts")), structured(event(), evoke_trigger="t"))

    sent = dapr.posts[0][2]
    assert sent["datacontenttype"] == kind
    assert member.items() <= sent.items()


def test_a_returned_cloud_event_is_sent_as_it_is(tmp_path, dapr):
    source = RETURNS.format(how="def").replace(
        "event.data", "ff.CloudEvent({'type': 'x', 'source': '/y', 'id': '9'}, 3)"
    )

    ask(app(tmp_path, source, environ=environ(dapr, "alerts")), structured(event(), evoke_trigger="t"))

    sent = dapr.posts[0][2]
    assert (sent["type"], sent["source"], sent["id"], sent["data"]) == ("x", "/y", "9", 3)


def test_none_is_not_published(tmp_path, dapr):
    ask(
        app(tmp_path, RETURNS.format(how="def"), environ=environ(dapr, "alerts")),
        structured(event(), evoke_trigger="t"),
    )

    assert dapr.posts == []


def test_a_refused_output_fails_the_attempt(tmp_path, dapr):
    dapr.refuse["/v1.0/publish/default/alerts"] = (507, {"errorCode": "FULL", "message": "stream is full"})
    application = app(tmp_path, RETURNS.format(how="def"), environ=environ(dapr, "alerts"))

    platform, direct = ask(application, structured(event(data=1), evoke_trigger="t"), structured(event(data=1)))

    told = answer(platform)
    assert (told["status"], told["error"]["type"]) == ("RETRY", "PublishFailed")
    assert "507 FULL stream is full" in told["error"]["message"]
    assert direct.status == 500


def test_an_unreachable_api_fails_the_attempt(tmp_path):
    where = {"EVOKE_DAPR_SOCKET": str(tmp_path / "none.sock"), "FUNC_CONTEXT": json.dumps({"outputs": OUTPUTS})}
    application = app(tmp_path, RETURNS.format(how="def"), environ=where)

    (reply,) = ask(application, structured(event(data=1), evoke_trigger="t"))

    assert answer(reply)["status"] == "RETRY"
    assert "none.sock" in answer(reply)["error"]["message"]


def test_a_batch_publishes_in_one_call_and_a_refused_entry_stops_its_key(tmp_path, dapr):
    target = "/v1.0/publish/bulk/default/alerts"
    dapr.refuse[target] = (500, {"failedEntries": [{"entryId": "1", "error": "too large"}]})
    application = app(tmp_path, RETURNS.format(how="async def"), environ=environ(dapr, "alerts"))
    keys = ["a", "b", "b", "c"]
    events = [event(id=str(n), partitionkey=key, data={"n": n}) for n, key in enumerate(keys)]

    (reply,) = ask(application, bulk(events))

    assert statuses(reply) == {"e0": "SUCCESS", "e1": "RETRY", "e3": "SUCCESS"}
    ((path, _, sent),) = dapr.posts
    assert path == target
    assert [(e["entryId"], e["contentType"], e["event"]["data"]) for e in sent] == [
        (str(n), "application/cloudevents+json", {"n": n}) for n in range(4)
    ]


SENDS = """
    import functions_framework as ff

    @ff.cloud_event
    {how} handle(event, context):
        {wait}context.send("alerts", {{"n": 1}})
        {wait}context.publish("other", "x", key="k")
        {wait}context.send("mail", {{"to": "you"}})
        ff.context.current()
"""


@pytest.mark.parametrize(("how", "wait"), [("def", ""), ("async def", "await ")])
def test_the_context_sends_to_outputs_topics_and_bindings(tmp_path, dapr, how, wait):
    application = app(tmp_path, SENDS.format(how=how, wait=wait), environ=environ(dapr, "alerts"))
    application.outputs.declared.update(
        app(tmp_path, SENDS.format(how=how, wait=wait), environ=environ(dapr, "mail")).outputs.declared
    )

    (reply,) = ask(application, structured(event(partitionkey="v"), evoke_trigger="t"))

    assert answer(reply) == {"status": "SUCCESS"}
    alert, other, mail = dapr.posts
    assert (alert[2]["data"], alert[2]["partitionkey"], alert[2]["evokehops"]) == ({"n": 1}, "v", 1)
    assert (other[0], other[2]["partitionkey"]) == ("/v1.0/publish/default/other", "k")
    assert mail[2] == {"operation": "create", "data": {"to": "you"}, "metadata": {}}
    assert alert[2]["id"] != other[2]["id"]


def test_an_unknown_output_names_the_declared_ones(tmp_path, dapr):
    source = SENDS.format(how="def", wait="").replace('"alerts"', '"alert"')

    (reply,) = ask(app(tmp_path, source, environ=environ(dapr, "alerts")), structured(event(), evoke_trigger="t"))

    assert answer(reply)["error"]["message"] == "no output named alert; declared outputs: alerts"


OPENFUNCTION = """
    from functions_framework.context.user_context import UserContext

    def user_function(context: UserContext):
        if context.get_http_request() is not None:
            context.out.set_data("hello")
            context.out.set_code(201)
            return
        if context.get_binding_request() is not None:
            context.send("alerts", context.get_binding_request().text())
            return
        event = context.get_topic_event()
        context.send("alerts", {"id": event.EventID(), "data": event.Data().decode(), "attempt": context.attempt})
"""


def test_openfunctions_user_context(tmp_path, dapr):
    application = app(tmp_path, OPENFUNCTION, environ=environ(dapr, "alerts"))

    http, topic, binding = ask(
        application,
        request("GET", "/any"),
        structured(event(id="5", data={"a": 1}), evoke_trigger="t", evoke_attempt="2"),
        request(path="/cron", body="tick", content_type="text/plain", evoke_trigger="t"),
    )

    assert (http.status, text(http)) == (201, "hello")
    assert answer(topic) == {"status": "SUCCESS"}
    assert binding.status == 200
    assert [sent["data"] for _, _, sent in dapr.posts] == [{"id": "5", "data": '{"a": 1}', "attempt": 2}, "tick"]
