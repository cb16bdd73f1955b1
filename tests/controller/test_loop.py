"""The loop: level-triggered, woken by changes, never stopped by one bad item."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta

import pytest

from api.actions import CancelBuild, Observed, Publish, Resource, StartBuild
from api.documents import decode_spec
from api.errors import EvokeError
from api.kinds import CORE
from api.meta import Key
from controller.loop import FIRST_WAIT, LONGEST_WAIT, Loop, Repeats, _soonest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """Resources in a list."""

    def __init__(self, *names):
        self.names, self.statuses, self.broken = list(names), {}, 0
        self.written = asyncio.Event()

    async def resources(self):
        if self.broken:
            self.broken -= 1
            raise RuntimeError("disk")
        spec = {"serving": {"triggers": {"dapr": [{"name": "default", "topic": "t"}]}}}
        return tuple(
            Resource(
                api_version=CORE,
                kind="Function",
                key=Key("default", name),
                uid=name,
                generation=1,
                spec=decode_spec(CORE, "Function", spec),
                annotations={"evoke.dev/folder": f"/{name}"},
            )
            for name in self.names
        )

    async def write_statuses(self, statuses, *, now):
        changed = tuple(one for one in statuses if self.statuses.get(one.key) != one)
        self.statuses |= {one.key: one for one in changed}
        self.written.set()
        return changed

    def subscribe(self, changed):
        self.changed = changed


class Substrate:
    """Carries nothing out but publishes; refuses the builds of functions in *refuses*."""

    def __init__(self, *refuses):
        self.refuses, self.executed, self.snapshots = refuses, [], {}
        self.acted = asyncio.Event()

    async def observe(self, sources=None):
        trees = {source.path: "sha256:1" for _, source in sources or ()}
        return Observed(trees=trees, snapshots=dict(self.snapshots), capabilities=frozenset({"processes", "folders"}))

    async def execute(self, action):
        self.executed.append(action)
        self.acted.set()
        if isinstance(action, StartBuild) and action.build.key.name in self.refuses:
            raise EvokeError("no")
        if isinstance(action, Publish):
            self.snapshots[action.snapshot.namespace] = action.snapshot.digest

    def subscribe(self, changed):
        self.changed = changed


class Control:
    agents: dict = {}  # noqa: RUF012 # nobody is connected

    def assign(self, agent, subscriptions, sources):
        raise AssertionError("nobody is connected")


@contextlib.asynccontextmanager
async def running(store, substrate):
    loop = Loop(store, substrate, Control(), clock=lambda: NOW)
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fact, event):
    async with asyncio.timeout(10):
        while not fact():
            event.clear()
            await event.wait()


def builds(substrate):
    return [one.build.key.name for one in substrate.executed if isinstance(one, StartBuild)]


def test_one_refused_action_holds_nobody_up():
    async def go():
        store, substrate = Store("bad", "good"), Substrate("bad")
        async with running(store, substrate):
            await until(lambda: {"bad", "good"} <= set(builds(substrate)) and len(store.statuses) == 2, substrate.acted)

    asyncio.run(go())


def test_a_pass_that_fails_is_logged_counted_and_repeated(caplog):
    async def go():
        store, substrate = Store("f"), Substrate()
        store.broken = 1
        with caplog.at_level(logging.ERROR):
            async with running(store, substrate) as loop:
                await until(lambda: builds(substrate) == ["f"], substrate.acted)
                return loop.failures

    assert asyncio.run(go()) == 1
    assert "a pass of the loop failed" in caplog.text


def test_a_change_wakes_it():
    async def go():
        store, substrate = Store("f"), Substrate()
        async with running(store, substrate):
            await until(lambda: "f" in builds(substrate), substrate.acted)
            store.names.append("g")
            store.changed()
            await until(lambda: "g" in builds(substrate), substrate.acted)

    asyncio.run(go())


def test_the_next_pass_comes_as_soon_as_anybody_asks():
    assert _soonest(timedelta(0), 3.0) == 0.0
    assert _soonest(None, 3.0) == 3.0
    assert _soonest(None, None) is None


def test_repeats_are_held_back_ever_longer_and_forgotten_when_not_asked():
    repeats, now, waits = Repeats(), 0.0, []
    action = CancelBuild(key=Key("d", "f"), reason="r")
    for _ in range(12):
        due, wait = repeats.due([action], now)
        assert due == [action]
        assert repeats.due([action], now)[0] == []
        waits.append(wait)
        now += wait * 1.001

    assert waits[:4] == pytest.approx([FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4, FIRST_WAIT * 8])
    assert waits[-1] == pytest.approx(LONGEST_WAIT)
    assert repeats.due([], now) == ([], None)
    assert repeats.due([action], now)[1] == pytest.approx(FIRST_WAIT)
