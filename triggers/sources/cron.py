"""Events by the clock.

An event's id is its scheduled time, so that a tick which two proxies fire around a takeover is absorbed by the bus. The
wall clock is read at every look: one that is set back does not fire again what was fired, one that is set forward fires
what the policy for missed ticks says, no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec

from api.frames import SourceReading
from api.model import Source
from eventbus.cloudevents import dedupe_id, encode
from eventbus.errors import BusError
from eventbus.state import Conflict
from triggers.sources.manners import manner
from triggers.sources.source import BadSource, Cells, Publish, SourceError
from triggers.sources.storing import Brought
from triggers.sources.ticks import Missed, owed, parse

EVENT_TYPE = "io.evoke.cron.tick"
MAX_SLEEP = 30.0
"""Seconds: a clock that is set while we sleep is noticed within that."""
MIN_SLEEP = 0.001
RETRY = 1.0
REMEMBERED = 40_000
"""Ticks that are not fired again when the clock is set back: an hour of ten a second."""

log = logging.getLogger(__name__)


class Last(msgspec.Struct, frozen=True):
    """The newest tick that was fired or given up, by one schedule."""

    schedule: str
    at: datetime


def _now() -> datetime:
    return datetime.now(UTC)


class CronSource:
    """Options: schedule, timeZone, missed."""

    def __init__(
        self, source: Source, options: Mapping[str, str], cells: Cells, *, now: Callable[[], datetime] = _now
    ) -> None:
        self._key = source.key
        self._manner = manner(source, "cron")
        self._zone = options.get("timeZone") or "UTC"
        self._text = f"{options.get('timeZone', '')} {options.get('schedule', '')}"
        self._schedule = parse(options.get("schedule", ""), options.get("timeZone") or "UTC")
        self._missed = cast("Missed", options.get("missed") or "skip")
        if self._missed not in {"skip", "once", "all"}:
            raise BadSource(f"missed {self._missed!r} is not known", hint="write skip, once or all")
        self._cells, self._now = cells, now
        self._recent: dict[datetime, None] = {}
        """What was fired, oldest first."""
        self._revision = 0
        self._fired = 0
        self._published = 0
        self._trouble = ""

    async def run(self, publish: Publish) -> None:
        """Fire what is due, until cancelled; raises BusError when what was missed cannot be told."""
        seen = self._now() if self._missed == "skip" else await self._last()
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            now, slept, looked = self._now(), timedelta(seconds=loop.time() - looked), loop.time()
            seen = min(seen, now - slept) if now < seen else seen  # set back: what passed since is still to be fired
            due, passed_over = owed(self._schedule, seen=seen, now=now, missed=self._missed, fired=self._recent)
            if passed_over and self._missed == "skip":
                log.info("%s: %d ticks were missed", self._key, passed_over)
            for tick in due:
                await self._fire(publish, tick, passed_over if self._missed == "once" else 0)
            seen = now
            if due and self._missed != "skip":
                await self._keep(due[-1])
            wait = (self._schedule.after(now) - self._now()).total_seconds()
            await asyncio.sleep(min(max(wait, MIN_SLEEP), MAX_SLEEP))

    async def _fire(self, publish: Publish, tick: datetime, missed: int) -> None:
        """Publish one tick, again until the bus has it; unless all are to be fired, until the next one is due."""
        id_ = tick.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = self._event(tick, id_, missed)
        self._fired += 1
        self._remember(tick)
        until = self._schedule.after(tick)
        while True:
            try:
                await publish(event.payload, key="", dedupe=event.dedupe)
            except BusError as error:
                self._trouble = str(error)
                if self._missed != "all" and self._now() >= until:
                    log.warning("tick %s of %s was not published: %s", id_, self._key, error)
                    return
                await asyncio.sleep(RETRY)
            else:
                self._published += 1
                self._trouble = ""
                return

    def _event(self, tick: datetime, id_: str, missed: int) -> Brought:
        beside = {"timeZone": self._zone, "readTimeUTC": f"{tick:%Y-%m-%d %H:%M:%S.%f} +0000 UTC"}
        if plain := self._manner.plain(b"", id=id_, type=EVENT_TYPE, time=tick, metadata=beside):
            return plain
        uri, data = self._manner.uri, {"scheduled": id_, **({"missed": missed} if missed else {})}
        body = msgspec.json.encode(data)
        payload = encode(id=id_, source=uri, type=EVENT_TYPE, body=body, content_type="application/json", time=tick)
        return Brought(payload, "", dedupe_id(uri, id_), id_)

    def _remember(self, tick: datetime) -> None:
        self._recent[tick] = None
        if len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    async def _last(self) -> datetime:
        """Where an earlier run ended; now, if there was none or by another schedule."""
        store, now = await self._cells(), self._now()
        cell = await store.get(str(self._key).replace("/", "."))
        self._revision = cell.revision
        try:
            last = msgspec.json.decode(cell.value, type=Last) if cell.value else None
        except msgspec.DecodeError:
            last = None
        if last is None or last.schedule != self._text:
            await self._keep(now)
            return now
        self._remember(last.at)
        return min(last.at, now)

    async def _keep(self, at: datetime) -> None:
        """Store the newest tick. Without it a later run fires this one again, which the bus absorbs for a while."""
        try:
            store, key = await self._cells(), str(self._key).replace("/", ".")
            value = msgspec.json.encode(Last(self._text, at))
            try:
                self._revision = await store.put(key, value, self._revision)
            except Conflict:  # another proxy had the source in between
                self._revision = await store.put(key, value, (await store.get(key)).revision)
        except BusError as error:
            log.warning("%s: the last tick is not kept: %s", self._key, error)

    def state(self) -> SourceReading:
        return SourceReading(
            source=self._key,
            connected=not self._trouble,
            received=self._fired,
            published=self._published,
            reason="Unreachable" if self._trouble else "",
            message=self._trouble,
        )

    async def publish(self, topic: str, payload: bytes) -> None:  # noqa: ARG002  # the Protocol's
        raise SourceError("a cron source takes no messages", hint="publish to its event bus: evoke publish --bus")
