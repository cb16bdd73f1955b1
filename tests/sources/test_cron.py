"""The clock as a source: each tick once, whoever fires it and however the wall clock is set."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from api.meta import Key
from api.model import Option, Source
from eventbus.errors import Unreachable
from eventbus.memory.state import MemoryCells
from eventbus.state import StateStore
from tests.sources.virtual import Wall, run
from triggers.sources import connect, cron
from triggers.sources.source import BadSource

START = datetime(2026, 11, 21, 12, 0, 0, 500_000, tzinfo=UTC)


def source(kind: str = "cron", **options: str) -> Source:
    return Source(
        key=Key("default", "clock.tick"), kind=kind, options=dict(options), bus=Key("default", "default"), subject="s"  # type: ignore[arg-type]  # a kind of the Literal
    )  # fmt: skip


def text(option: Option) -> str:
    assert isinstance(option, str)
    return option


class Clockwork:
    """Runs cron sources of one schedule against one wall clock, one set of cells and one bus."""

    def __init__(self, schedule: str, missed: str = "skip", start: datetime = START) -> None:
        self.options = {"schedule": schedule, "missed": missed}
        self.wall = Wall(start)
        self.store = MemoryCells(timedelta(days=400), clock=lambda: 0.0)
        self.fired: list[str] = []
        """Scheduled times as they came, without those that the bus absorbs."""
        self.events: list[dict[str, object]] = []
        self.down = False
        self._seen: set[str] = set()

    async def cells(self) -> StateStore:
        if self.down:
            raise Unreachable("the bus is away")
        return self.store

    async def publish(self, payload: bytes, *, key: str, dedupe: str) -> None:
        if self.down:
            raise Unreachable("the bus is away")
        if dedupe not in self._seen:
            self._seen.add(dedupe)
            event = json.loads(payload)
            self.events.append(event["data"])
            self.fired.append(event["id"][11:19])

    def source(self) -> cron.CronSource:
        return cron.CronSource(source(), self.options, self.cells, now=self.wall)

    async def run(self, **times: float) -> cron.CronSource:
        """Run a source for that long, then kill it."""
        made = self.source()
        await self.let(made, **times)
        return made

    async def let(self, made: cron.CronSource, **times: float) -> None:
        task = asyncio.create_task(made.run(self.publish))
        await asyncio.sleep(timedelta(**times).total_seconds())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_unbuilt_kind_says_so() -> None:
    with pytest.raises(BadSource, match="this release does not run"):
        connect(source("http"), text, Clockwork("@hourly").cells)


def test_the_platform_passes_its_cells_on() -> None:
    made = connect(source(schedule="@hourly", missed="once"), text, Clockwork("@hourly").cells)
    assert not made.state().received


def test_two_proxies_fire_one_tick() -> None:
    async def scenario() -> None:
        works = Clockwork("@every 1s")
        await asyncio.gather(works.run(seconds=3), works.run(seconds=3))
        assert works.fired == ["12:00:01", "12:00:02", "12:00:03"]

    run(scenario())


def test_a_tick_waits_for_the_bus_until_the_next_is_due() -> None:
    async def scenario() -> None:
        works = Clockwork("@every 10s")
        made = works.source()
        task = asyncio.create_task(works.let(made, seconds=60))
        await asyncio.sleep(5)
        works.down = True
        await asyncio.sleep(30)
        assert (made.state().connected, made.state().reason) == (False, "Unreachable")
        works.down = False
        await task
        assert works.fired == ["12:00:30", "12:00:40", "12:00:50", "12:01:00"]
        assert made.state().connected
        assert made.state().published == 4

    run(scenario())


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", ["12:01:00", "12:02:00", "12:07:00", "12:08:00"]),
        ("once", ["12:01:00", "12:02:00", "12:06:00", "12:07:00", "12:08:00"]),
        (
            "all",
            ["12:01:00", "12:02:00", "12:03:00", "12:04:00", "12:05:00", "12:06:00", "12:07:00", "12:08:00"],
        ),
    ],
)
def test_what_nobody_could_fire(missed: str, expected: list[str]) -> None:
    """The proxy is killed at 12:02:30, and another starts at 12:06:30."""

    async def scenario() -> None:
        works = Clockwork("* * * * *", missed)
        await works.run(minutes=2, seconds=29.5)
        await asyncio.sleep(240)
        await works.run(minutes=2)
        assert works.fired == expected
        assert [event.get("missed") for event in works.events if "missed" in event] == ([3] if missed == "once" else [])

    run(scenario())


@pytest.mark.parametrize("missed", ["once", "all"])
def test_a_first_start_and_a_new_schedule_owe_nothing(missed: str) -> None:
    async def scenario() -> None:
        works = Clockwork("@hourly", missed)
        await works.run(seconds=1)
        await asyncio.sleep(1800)
        works.options = {"schedule": "* * * * *", "missed": missed}
        await works.run(seconds=90)
        assert works.fired == ["12:31:00"]

    run(scenario())


def test_a_source_that_must_remember_does_not_start_blindly() -> None:
    async def scenario() -> None:
        works = Clockwork("* * * * *", "all")
        works.down = True
        with pytest.raises(Unreachable):
            await works.source().run(works.publish)

    run(scenario())


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=30)])
def test_a_clock_set_forward_and_back(missed: str, jump: timedelta) -> None:
    """No tick comes twice, no storm, and after the correction it goes on at once."""

    async def scenario() -> None:
        works = Clockwork("* * * * *", missed)
        task = asyncio.create_task(works.run(minutes=9))
        await asyncio.sleep(150)
        works.wall.set(jump)
        await asyncio.sleep(120)
        works.wall.set(-jump)
        during = len(works.fired)
        await task
        assert during <= (105 if missed == "all" else 5)
        assert len(works.fired) == len(set(zip(works.fired, map(str, works.events), strict=True)))
        if jump > timedelta(hours=2) or missed != "all":
            assert works.fired[during:] == ["12:05:00", "12:06:00", "12:07:00", "12:08:00", "12:09:00"]

    run(scenario())


def test_a_clock_set_back_does_not_fire_again() -> None:
    async def scenario() -> None:
        works = Clockwork("@every 1s")
        task = asyncio.create_task(works.run(seconds=40))
        await asyncio.sleep(20)
        works.wall.set(timedelta(seconds=-10))
        works._seen.clear()  # the bus absorbs nothing: the source itself must know
        await task
        assert works.fired == sorted(set(works.fired))
        assert works.fired[-1] == "12:00:30"

    run(scenario())


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(BadSource, match="skip, once or all"):
        Clockwork("@hourly", "later").source()
