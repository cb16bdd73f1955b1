"""Schedules: when ticks are due, and that a tick has one identity."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from api.meta import Key
from api.model import Option, Source
from eventbus.errors import Unreachable
from triggers.sources import connect, cron
from triggers.sources.source import BadSource

NOW = datetime(2026, 3, 28, 22, 59, 59, 500_000, tzinfo=UTC)


def source(kind: str = "cron", **options: str) -> Source:
    return Source(
        key=Key("default", "clock.tick"), kind=kind, options=dict(options), bus=Key("default", "default"), subject="s"  # type: ignore[arg-type]  # a kind of the Literal
    )  # fmt: skip


def text(option: Option) -> str:
    assert isinstance(option, str)
    return option


@pytest.mark.parametrize(
    ("schedule", "zone", "due"),
    [
        ("@every 2s", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@every 1m30s", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@every 500ms", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@hourly", "UTC", "2026-03-28T23:00:00+00:00"),
        ("*/5 * * * *", "UTC", "2026-03-28T23:00:00+00:00"),
        ("30 * * * * *", "UTC", "2026-03-28T23:00:30+00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-29T07:00:00+00:00"),  # summer time begins that night
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00+00:00"),  # 02:30 does not exist on that day
        ("0 0 29 2 *", "UTC", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_next_tick(schedule: str, zone: str, due: str) -> None:
    assert cron.parse(schedule, zone).after(NOW).isoformat() == due


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "61 * * * *", "@every", "@every 5", "@every 0s", "@every 1y", "@fast"]
)
def test_bad_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(BadSource):
        cron.parse(schedule)


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(BadSource, match="Mars"):
        cron.parse("* * * * *", "Mars")


def test_unbuilt_kind_says_so() -> None:
    with pytest.raises(BadSource, match="redis"):
        connect(source("redis"), text)


class Bus:
    """Takes *count* events, refuses the first *failures*, then ends the run."""

    def __init__(self, count: int, failures: int = 0) -> None:
        self.count, self.failures = count, failures
        self.published: list[tuple[str, str]] = []
        self.done = asyncio.Event()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        if self.failures:
            self.failures -= 1
            raise Unreachable("not now")
        self.published.append((json.loads(payload)["id"], dedupe))
        if len(self.published) >= self.count:
            self.done.set()


async def run(bus: Bus, running: cron.CronSource) -> None:
    task = asyncio.create_task(running.run(bus))
    async with asyncio.timeout(10):
        await bus.done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_two_sources_fire_the_same_events() -> None:
    async def main() -> None:
        one, other = Bus(3), Bus(3)
        sources = [cron.CronSource(source(), {"schedule": "@every 100ms"}) for _ in range(2)]
        await asyncio.gather(run(one, sources[0]), run(other, sources[1]))

        shared = set(one.published) & set(other.published)
        assert len(shared) >= 2
        ids = [id_ for id_, _ in one.published]
        assert ids == sorted(set(ids))
        assert sources[0].state().published == 3
        assert sources[0].state().connected

    asyncio.run(main())


def test_a_refused_tick_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "RETRY", 0.0)

    async def main() -> None:
        bus = Bus(1, failures=2)
        start, real = NOW - timedelta(milliseconds=450), datetime.now(UTC)
        running = cron.CronSource(
            source(), {"schedule": "@every 1h"}, now=lambda: start + (datetime.now(UTC) - real) * 2
        )
        await run(bus, running)

        assert bus.published[0][0] == "2026-03-28T23:00:00.000Z"

    asyncio.run(main())
