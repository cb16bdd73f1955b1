"""Google's compatibility table for http, typed, cloud_event and event handlers; return values against Flask itself."""

from __future__ import annotations

import json

import flask
import pytest

from functions_framework import aio, create_app
from functions_framework.exceptions import InvalidTargetTypeException, MissingSourceException, MissingTargetException
from functions_framework.views import PlainView
from tests.functions_framework.harness import answer, app, ask, event, request, serve, structured, text, write

VIEWS = {
    "text": '"hello"',
    "bytes": 'b"hello"',
    "dict": '{"a": [1, "é"]}',
    "list": "[1, 2]",
    "status": '("made", 201)',
    "headers": '("x", {"X-A": "1"})',
    "all": '("x", 418, {"X-A": "1", "Content-Type": "text/x"})',
    "pairs": '("x", [("X-A", "1")])',
    "dict with status": '({"a": 1}, 202)',
    "response": 'Response("r", 203, {"X-A": "2"})',
    "stream": 'iter(["a", "b", "c"])',
    "empty": '""',
    "no content": '("", 204)',
}

SOURCE = """
    import functions_framework
    from werkzeug.wrappers import Response

    @functions_framework.http
    def view(request):
        return {value}
"""


@pytest.mark.parametrize("plain", [False, True], ids=["flask", "werkzeug"])
@pytest.mark.parametrize("name", VIEWS)
def test_return_values_are_answered_as_flask_answers_them(tmp_path, name, plain, monkeypatch):
    if plain:
        monkeypatch.setattr("functions_framework.web.view_of", lambda _handler: PlainView())
    source = write(tmp_path, SOURCE.format(value=VIEWS[name]))
    reference = flask.Flask("reference")
    scope: dict[str, object] = {}
    exec(f"from werkzeug.wrappers import Response\nvalue = lambda: {VIEWS[name]}", scope)
    reference.add_url_rule("/", view_func=scope["value"])

    ours = create_app("view", str(source))
    mine, theirs = ours.test_client().get("/"), reference.test_client().get("/")
    contents = mine.data
    ours.close()

    assert (mine.status_code, mine.headers.get("X-A")) == (theirs.status_code, theirs.headers.get("X-A"))
    assert mine.headers.get("Content-Type") == theirs.headers.get("Content-Type")
    assert contents == theirs.data


HTTP = """
    import functions_framework
    from werkzeug.exceptions import NotFound, abort

    @functions_framework.http
    {how} view(request):
        what = request.path.strip("/")
        if what == "none":
            return None
        if what == "crash":
            raise RuntimeError("secret")
        if what == "abort":
            abort(404, "no such thing")
        if what == "object":
            return object()
        if what == "echo":
            return {{"json": request.get_json(), "args": request.args.get("q"), "ua": request.headers.get("X-Me")}}
        return f"{{request.method}} {{request.path}}"
"""


@pytest.fixture(params=["def", "async def"])
def view(request, tmp_path):
    return app(tmp_path, HTTP.format(how=request.param))


def test_any_path_and_method_reach_the_function(view):
    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]

    replies = ask(view, *[request(m, "/a/b%20c") for m in methods])

    assert [text(r) for r in replies] == [f"{m} /a/b%20c" for m in methods]


def test_robots_and_favicon_never_reach_the_function(view):
    assert [r.status for r in ask(view, request("GET", "/robots.txt"), request("GET", "/favicon.ico"))] == [404, 404]


def test_a_request_is_read_as_flask_reads_it(view):
    (reply,) = ask(view, request("POST", "/echo?q=a%20b", {"x": 1}, content_type="application/json", x_me="é"))

    assert answer(reply) == {"json": {"x": 1}, "args": "a b", "ua": "é"}


@pytest.mark.parametrize("what", ["none", "crash", "object"])
def test_a_crash_says_so_and_keeps_the_message_to_itself(view, what):
    (reply,) = ask(view, request("GET", f"/{what}"))

    assert reply.status == 500
    assert (b"x-google-status", b"crash") in reply.headers
    assert "Internal Server Error" in text(reply)
    assert "secret" not in text(reply)


def test_http_exceptions_are_answers(view):
    missing, bad = ask(view, request("GET", "/abort"), request("POST", "/echo", "{", content_type="application/json"))

    assert (missing.status, bad.status) == (404, 400)
    assert "no such thing" in text(missing)


def test_flask_helpers_work_inside_a_handler(tmp_path):
    application = app(
        tmp_path,
        """
        import flask
        import functions_framework

        @functions_framework.http
        async def view(request):
            assert flask.request.path == request.path
            return flask.jsonify(path=flask.request.path)
        """,
    )

    assert answer(ask(application, request("GET", "/p"))[0]) == {"path": "/p"}


def test_error_handlers_answer_for_their_exceptions(tmp_path):
    application = app(
        tmp_path,
        """
        import functions_framework

        @functions_framework.errorhandler(ZeroDivisionError)
        def divided(error):
            return f"cannot: {error}", 422

        @functions_framework.errorhandler(404)
        def missing(error):
            return "gone", 410

        @functions_framework.http
        def view(request):
            if request.path == "/404":
                from werkzeug.exceptions import abort
                abort(404)
            return str(1 // 0)
        """,
        "view",
    )

    divided, missing = ask(application, request("GET", "/"), request("GET", "/404"))

    assert (divided.status, text(divided)) == (422, "cannot: integer division or modulo by zero")
    assert (missing.status, text(missing)) == (410, "gone")


def test_the_execution_id_is_taken_over_or_made(view):
    given, made = ask(view, request("GET", "/", function_execution_id="abc"), request("GET", "/"))

    assert dict(given.headers)[b"function-execution-id"] == b"abc"
    assert len(dict(made.headers)[b"function-execution-id"]) == 12


@pytest.mark.parametrize("how", ["def", "async def"])
def test_a_request_past_its_deadline_gets_504_and_a_thread_keeps_its_place(tmp_path, how):
    application = app(
        tmp_path,
        f"""
        import asyncio, threading
        import functions_framework as ff
        gate = threading.Event()

        @ff.http
        {how} view(request):
            {"await asyncio.Event().wait()" if how != "def" else "gate.wait(10)"}
        """,
    )

    async def work(running):
        reply = await running.handle(request("GET", "/", evoke_timeout="0.05"))
        busy = running._runners["view"].slots.busy
        running.loaded.module.gate.set()
        return reply.status, busy

    assert serve(application, work) == (504, 1 if how == "def" else 0)


TYPED = """
    import functions_framework

    class Order:
        def __init__(self, n): self.n = n
        @staticmethod
        def from_dict(d): return Order(d["n"])
        def to_dict(self): return {"n": self.n}

    @functions_framework.typed(Order)
    def named(order): return Order(order.n + 1)

    @functions_framework.typed
    def annotated(order: Order): return [order.n] if order.n else None
"""


def test_typed_handlers_convert_both_ways(tmp_path):
    application = app(tmp_path, TYPED)
    asked = [request(path="/named", body={"n": 1}), request(path="/annotated", body={"n": 2})]
    asked += [request(path="/annotated", body={"n": 0}), request(path="/named", body={"m": 1})]

    named, annotated, nothing, broken = ask(application, *asked)

    assert (answer(named), answer(annotated)) == ({"n": 2}, [2])
    assert (nothing.status, text(nothing)) == (200, "")
    assert broken.status == 500


EVENTS = """
    import functions_framework
    seen = []

    @functions_framework.cloud_event
    def handle(event):
        seen.append((event["type"], event["source"], event.data))
        if event["type"] == "crash":
            raise RuntimeError("secret")
"""


def test_a_cloud_event_is_answered_ok_and_must_be_posted(tmp_path):
    application = app(tmp_path, EVENTS)

    ok, got, crash, bad = ask(
        application,
        structured(event(data={"a": 1})),
        request("GET", "/"),
        structured(event(type="crash")),
        request(body={"a": 1}, content_type="application/json"),
    )

    assert (ok.status, text(ok)) == (200, "OK")
    assert got.status == 405
    assert crash.status == 500
    assert (b"x-google-status", b"crash") in crash.headers
    assert (bad.status, "older format" in text(bad)) == (400, True)


def test_googles_older_events_become_cloud_events(tmp_path):
    application = app(tmp_path, EVENTS)
    resource = {"service": "storage.googleapis.com", "name": "projects/_/buckets/b/objects/o.txt#1"}
    legacy = {
        "context": {
            "eventId": "1",
            "timestamp": "2026-01-01T00:00:00Z",
            "eventType": "google.storage.object.finalize",
            "resource": resource,
        },
        "data": {"size": 1},
    }

    (reply,) = ask(application, request(body=legacy, content_type="application/json"))

    assert reply.status == 200
    expected = (
        "google.cloud.storage.object.v1.finalized",
        "//storage.googleapis.com/projects/_/buckets/b",
        {"size": 1},
    )
    assert application.loaded.module.seen == [expected]


def test_the_event_signature_gets_data_and_context(tmp_path):
    source = """
        seen = []
        def handle(data, context):
            seen.append((data, context.event_id, context.event_type))
    """
    application = app(tmp_path, source, "handle", signature="event")

    probe, empty, converted = ask(
        application, request("GET", "/"), request(), structured(event(id="7", type="x", data={"a": 1}))
    )

    assert [probe.status, empty.status, converted.status] == [200, 400, 200]
    assert application.loaded.module.seen == [({"a": 1}, "7", "x")]


def test_aio_handlers_await_their_request(tmp_path):
    application = app(
        tmp_path,
        """
        import functions_framework.aio

        @functions_framework.aio.http
        async def view(request):
            if request.path == "/none":
                return None
            return {"json": await request.json(), "q": request.query_params["q"]}
        """,
    )

    found, nothing = ask(application, request(path="/?q=1", body=[1]), request(path="/none?q=1"))

    assert answer(found) == {"json": [1], "q": "1"}
    assert nothing.status == 500


def test_create_app_raises_googles_exceptions(tmp_path):
    source = str(write(tmp_path, "value = 3\ndef other(): ...\n"))

    with pytest.raises(MissingSourceException, match="doesn't exist"):
        create_app("view", str(tmp_path / "none.py"))
    with pytest.raises(MissingTargetException, match="functions found: other"):
        create_app("view", source)
    with pytest.raises(InvalidTargetTypeException, match="is a int"):
        create_app("value", source)
    with pytest.raises(MissingTargetException, match="FUNCTION_TARGET"):
        create_app(None, source)
    with pytest.raises(ModuleNotFoundError):
        aio.create_asgi_app("view", str(write(tmp_path, "import celcius", "broken.py")))


def test_two_handlers_are_told_apart_by_what_arrives(tmp_path):
    application = app(
        tmp_path,
        """
        import functions_framework as ff

        @ff.batch
        async def store(events): ...

        @ff.http
        def fleet(request): return "fleet"

        @ff.http
        def other(request): return "other"
        """,
    )

    stored, other, unclear = ask(
        application, structured(event()), request("GET", "/other/x"), request("GET", "/nothing")
    )

    assert (text(stored), text(other)) == ("OK", "other")
    assert unclear.status == 404
    assert "fleet (http)" in text(unclear)


BOUND = {"name": "f", "inputs": {"tick": {"componentName": "tick", "componentType": "bindings.cron"}}}


@pytest.mark.parametrize(
    ("source", "path", "status"),
    [
        ("def user_function(context): ...", "/tick", 200),
        ("def user_function(context): ...", "/other", 404),
        ("import functions_framework as ff\n@ff.cloud_event\ndef on(event): ...", "/other", 404),
        ("import functions_framework as ff\n@ff.http\ndef hello(request): return 'mine'", "/other", 200),
    ],
)
def test_a_daprd_hears_which_bindings_are_wanted(tmp_path, source, path, status):
    application = app(tmp_path, source, environ={"FUNC_CONTEXT": json.dumps(BOUND)})
    [reply] = ask(application, request("OPTIONS", path))

    assert reply.status == status
