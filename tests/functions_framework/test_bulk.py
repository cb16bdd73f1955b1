"""Dapr bulk deliveries: order within a key, what is omitted after a failure, statuses, the epoch fence."""

from __future__ import annotations

import pytest

from functions_framework.app import App
from functions_framework.message import Reply
from tests.functions_framework.harness import answer, app, ask, bulk, event, request, serve, statuses, structured

ORDERED = """
    import functions_framework as ff
    seen = []

    @ff.cloud_event
    {how} handle(event):
        seen.append(event.id)
        if event.data == "fail":
            raise KeyError("celcius")
        if event.data == "reject":
            raise ff.Reject("no such vehicle")
        if event.data == "later":
            raise ff.Retry(after=2.5)
"""


@pytest.fixture(params=["async def", "def"])
def ordered(request, tmp_path):
    return app(tmp_path, ORDERED.format(how=request.param))


def seen(application: App) -> list[str]:
    found: list[str] = application.loaded.module.seen
    return found


def test_every_entry_gets_its_status_in_order_of_its_key(ordered):
    events = [event(id=str(n), partitionkey=f"k{n % 3}") for n in range(30)]

    (reply,) = ask(ordered, bulk(events))

    assert statuses(reply) == {f"e{n}": "SUCCESS" for n in range(30)}
    for key in range(3):
        mine = [int(i) for i in seen(ordered) if int(i) % 3 == key]
        assert mine == sorted(mine)


def test_the_rest_of_a_failed_key_is_omitted_and_not_started(ordered):
    events = [
        event(id="a1", partitionkey="a"),
        event(id="a2", partitionkey="a", data="fail"),
        event(id="b1", partitionkey="b"),
        event(id="a3", partitionkey="a"),
        event(id="free", data="fail"),
        event(id="free2"),
    ]

    (reply,) = ask(ordered, bulk(events))

    expected = {"e0": "SUCCESS", "e1": "RETRY", "e2": "SUCCESS", "e4": "RETRY", "e5": "SUCCESS"}
    assert statuses(reply) == expected
    assert "a3" not in seen(ordered)


def test_a_status_tells_reason_delay_and_the_line_that_failed(ordered):
    (reply,) = ask(ordered, bulk([event(data="fail"), event(data="reject"), event(data="later")]))

    failed, rejected, later = answer(reply)["statuses"]
    assert (failed["error"]["type"], failed["error"]["file"]) == ("KeyError", "main.py")
    assert failed["error"]["line"] == 9
    assert (rejected["status"], rejected["reason"]) == ("DROP", "no such vehicle")
    assert (later["status"], later["after_ms"]) == ("RETRY", 2500)


def test_a_lower_epoch_of_the_same_trigger_is_fenced(ordered):
    one, two, stale, other = ask(
        ordered,
        bulk([event()], evoke_epoch="3"),
        bulk([event()], evoke_epoch="4"),
        bulk([event()], evoke_epoch="3"),
        bulk([event()], trigger="u", evoke_epoch="1"),
    )

    assert [one.status, two.status, stale.status, other.status] == [200, 200, 409, 200]
    assert (b"evoke-epoch", b"4") in stale.headers
    assert len(seen(ordered)) == 3


def test_async_handlers_are_cancelled_at_the_deadline(tmp_path):
    application = app(
        tmp_path,
        """
        import asyncio
        import functions_framework as ff
        cancelled = []

        @ff.cloud_event
        async def handle(event):
            try:
                await asyncio.Event().wait() if event.data == "hang" else None
            except asyncio.CancelledError:
                cancelled.append(event.id)
                raise
        """,
        concurrency=1,
    )
    events = [event(id="1"), event(id="2", data="hang"), event(id="3")]

    (reply,) = ask(application, bulk(events, evoke_timeout="0.05"))

    assert statuses(reply) == {"e0": "SUCCESS", "e1": "RETRY"}
    assert answer(reply)["statuses"][1]["error"]["type"] == "TimeoutError"
    assert "reason" not in answer(reply)["statuses"][1]
    assert application.loaded.module.cancelled == ["2"]


def test_a_thread_past_its_deadline_is_reported_and_keeps_its_place(tmp_path):
    application = app(
        tmp_path,
        """
        import threading
        import functions_framework as ff
        gate = threading.Event()

        @ff.cloud_event
        def handle(event):
            gate.wait(10)
        """,
    )

    async def work(running: App) -> tuple[Reply, ...]:
        late = await running.handle(bulk([event(id="1"), event(id="2")], evoke_timeout="0.05"))
        overdue = await running.handle(request("GET", "/evoke/overdue"))
        refused = await running.handle(bulk([event()]))
        running.loaded.module.gate.set()
        slots = running._runners["handle"].slots
        await slots.wait()
        slots.give(1)
        confirmed = await running.handle(request("GET", "/evoke/overdue"))
        return late, refused, overdue, confirmed, await running.handle(bulk([event()]))

    late, refused, overdue, confirmed, after = serve(application, work)

    assert statuses(late) == {"e0": "RETRY"}
    assert answer(late)["statuses"][0]["reason"] == "still-running"
    assert refused.status == 503
    assert (b"evoke-not-started", b"1") in refused.headers
    assert (answer(overdue), answer(confirmed)) == ({"overdue": 1}, {"overdue": 0})
    assert statuses(after) == {"e0": "SUCCESS"}


def test_batches_are_split_by_size_and_may_judge_each_event(tmp_path):
    application = app(
        tmp_path,
        """
        import functions_framework as ff
        sizes = []

        @ff.batch(max_size=4)
        async def store(events):
            sizes.append(len(events))
            return [ff.Reject("odd") if int(e.id) % 2 else None for e in events]
        """,
    )

    (reply,) = ask(application, bulk([event(id=str(n)) for n in range(10)]))

    assert application.loaded.module.sizes == [4, 4, 2]
    assert list(statuses(reply).values()) == ["SUCCESS", "DROP"] * 5


def test_a_failing_batch_stops_its_keys_only(tmp_path):
    application = app(
        tmp_path,
        """
        import functions_framework as ff
        seen = []

        @ff.batch(max_size=2)
        def store(events):
            seen.extend(e.id for e in events)
            if any(e.data == "fail" for e in events):
                raise ValueError("no")
        """,
    )
    keys = [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a"), ("5", "b")]
    events = [event(id=i, partitionkey=k, data="fail" if i == "1" else None) for i, k in keys]

    (reply,) = ask(application, bulk(events))

    assert statuses(reply) == {"e0": "RETRY", "e1": "RETRY", "e2": "SUCCESS", "e4": "SUCCESS"}
    assert application.loaded.module.seen == ["1", "2", "3", "5"]


def test_entries_that_are_no_events_are_dropped_with_a_reason(ordered):
    delivery = bulk([event(), {"id": "x"}])

    (reply,) = ask(ordered, delivery)

    assert statuses(reply) == {"e0": "SUCCESS", "e1": "DROP"}
    assert "lacks" in answer(reply)["statuses"][1]["reason"]


def test_one_event_of_the_platform_is_answered_with_one_status(ordered):
    ok, failed, dropped = ask(
        ordered,
        structured(event(), evoke_trigger="t"),
        structured(event(data="fail"), evoke_trigger="t", evoke_attempt="3"),
        structured(event(data="reject", pubsubname="default")),
    )

    assert answer(ok) == {"status": "SUCCESS"}
    assert (failed.status, answer(failed)["error"]["type"]) == (200, "KeyError")
    assert answer(dropped) == {"status": "DROP", "reason": "no such vehicle"}


WAITING = """
    import asyncio
    import functions_framework as ff
    tasks = set()
    running = most = 0

    @ff.cloud_event
    async def handle(event):
        global running, most
        tasks.add(asyncio.current_task())
        running += 1
        most = max(most, running)
        if event.data == "wait":
            async with asyncio.timeout(5):
                await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001))
        if event.data == "late":
            async with asyncio.timeout(0.001):
                await asyncio.sleep(5)
        if event.data == "cancelled":
            raise asyncio.CancelledError
        running -= 1
"""


def test_handlers_that_wait_run_side_by_side_up_to_the_concurrency(tmp_path):
    application = app(tmp_path, WAITING, concurrency=4)

    (reply,) = ask(application, bulk([event(id=str(n), data="wait") for n in range(20)]))

    assert set(statuses(reply).values()) == {"SUCCESS"}
    assert application.loaded.module.most == 4
    assert application._runners["handle"].slots.busy == 0


def test_handlers_that_never_wait_share_one_task(tmp_path):
    application = app(tmp_path, WAITING, concurrency=4)

    (reply,) = ask(application, bulk([event(id=str(n)) for n in range(50)]))

    assert len(statuses(reply)) == 50
    assert len(application.loaded.module.tasks) == 1


def test_own_timeouts_and_cancellations_of_a_handler_fail_that_event_only(tmp_path):
    application = app(tmp_path, WAITING, concurrency=1)
    events = [event(id=str(n), data=what) for n, what in enumerate(["late", "cancelled", None, "wait"])]

    (reply,) = ask(application, bulk(events))

    assert list(statuses(reply).values()) == ["RETRY", "RETRY", "SUCCESS", "SUCCESS"]
    assert [s["error"]["type"] for s in answer(reply)["statuses"][:2]] == ["TimeoutError", "CancelledError"]
