"""Asynchronous invocations: the gateway's event becomes the HTTP call, whose status decides the event's fate."""

from __future__ import annotations

import pytest

from functions_framework.asynchronous import event_of
from functions_framework.message import Request
from tests.functions_framework.harness import answer, app, ask, request, serve

SOURCE = """
    import functions_framework as ff
    seen = []

    @ff.http
    def view(request, context):
        seen.append((request.method, request.path, request.args.get("q"), request.headers.get("X-Me"),
                     request.get_data(), context.call, context.attempt))
        return "x", int(request.headers.get("X-Status", 200))
"""


def carried(**change):
    parts = {"method": "PUT", "target": "/a/b?q=1", "headers": [(b"x-me", b"me")], "body": b"\x00body", **change}
    made = event_of(call="c-1", source="/async-function/default/view", **parts)
    members = made.to_dict()
    return request(path="/__evoke/invocation", body=members, content_type="application/cloudevents+json",
                   evoke_trigger="t", evoke_attempt="2")  # fmt: skip


def test_the_request_arrives_as_it_was_sent(tmp_path):
    application = app(tmp_path, SOURCE)

    (reply,) = ask(application, carried())

    assert answer(reply) == {"status": "SUCCESS"}
    assert application.loaded.module.seen == [("PUT", "/a/b", "1", "me", b"\x00body", "c-1", 2)]


@pytest.mark.parametrize(("status", "fate"), [(200, "SUCCESS"), (404, "SUCCESS"), (429, "RETRY"), (500, "RETRY")])
def test_the_status_decides(tmp_path, status, fate):
    headers = [(b"x-status", str(status).encode())]

    (reply,) = ask(app(tmp_path, SOURCE), carried(headers=headers))

    assert answer(reply)["status"] == fate


def test_what_is_no_invocation_is_dropped(tmp_path):
    (reply,) = ask(app(tmp_path, SOURCE), request(path="/__evoke/invocation", body={"id": "1"}, evoke_trigger="t"))

    assert answer(reply)["status"] == "DROP"


def test_a_call_past_its_deadline_that_still_runs_is_told_so(tmp_path):
    application = app(
        tmp_path,
        """
        import threading
        import functions_framework as ff
        gate = threading.Event()

        @ff.http
        def view(request):
            gate.wait(10)
            return "late"
        """,
    )
    late = carried()
    late.headers.append((b"evoke-timeout", b"0.05"))
    late = Request(late.method, late.path, late.headers, late.body)

    async def work(running):
        replies = [await running.handle(late), await running.handle(request("GET", "/evoke/overdue"))]
        running.loaded.module.gate.set()
        return replies

    reply, overdue = serve(application, work)

    assert answer(reply)["reason"] == "still-running"
    assert answer(overdue) == {"overdue": 1}
