"""The window: which events one owner holds of one share, and which of them may start now.

Pure: no clock, no I/O, no randomness; *now* is the caller's monotonic seconds. The same for every broker. It keeps four
promises, whatever the caller does in whatever order:

- events of one key start in sequence order, and a key is never in flight twice, whatever the revision;
- the floor never passes an event that is not done;
- an event leaves only as done: after success, after its dead letter is stored, or because no filter matched it;
- what it holds is bounded: its *room* is what may still be asked of the broker.

Sequences may have gaps (a subject is a part of its stream), but arrive in ascending order.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Hashable, Iterator, Mapping

from eventbus.bus import Attempt, Incoming
from proxy.bounds import CAPACITY, KEEP_PARKED, MAX_BODY, MAX_BYTES, MAX_SPAN
from proxy.lanes import Entry, Lane, Route, Startable
from proxy.transitions import TRANSITIONS, IllegalTransition, State


class Window:
    def __init__(
        self,
        share: int = 0,
        *,
        floor: int = 0,
        done: Collection[int] = (),
        attempts: Mapping[int, Attempt] | None = None,
        route: Route = lambda _key, _seq: None,
        capacity: int = CAPACITY,
        keyed: bool = True,
    ) -> None:
        """Start from a taken-over *floor*, the *done* set above it, and recorded *attempts* by sequence."""
        self.share = share
        self.floor = floor
        self.capacity = capacity
        self.held_bytes = 0
        self.in_flight = 0
        """Started, or started and without a reply."""
        self.parked = 0
        self._inherited = deque(sorted(done))
        """Done before the takeover, and not come by yet."""
        self._attempts = dict(attempts or {})
        self._keyed = keyed
        self._last = floor
        self._entries: dict[int, Entry] = {}
        self._order: deque[int] = deque()
        self._done: set[int] = set()
        self._lanes: dict[str, Lane] = {}
        self._startable = Startable(route)
        self._wakes: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Events not done: waiting, parked, in flight, or on their way to the dead letters."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def room(self) -> int:
        """Events that may still come in, by count, span and bytes."""
        if self.held_bytes >= MAX_BYTES:
            return 0
        return max(0, min(self.capacity - len(self._entries), MAX_SPAN - len(self._order)))

    @property
    def runnable(self) -> int:
        """Distinct keys that could start now."""
        return len(self._startable)

    def runnable_of(self, route: Hashable) -> int:
        return len(self._startable.of(route))

    def routes(self) -> list[Hashable]:
        """Routes with something to start."""
        return self._startable.routes()

    def done_above(self) -> Collection[int]:
        """Sequences above the floor that are done, this owner's and those taken over that have not come by yet."""
        return self._done.union(self._inherited) if self._inherited else self._done

    def oldest(self) -> Entry | None:
        return next(iter(self._entries.values()), None)

    def receive(self, event: Incoming, now: float, *, matched: bool = True) -> Entry | None:
        """Take *event* in; None when there is nothing to do for it: seen before, done before, or not *matched*."""
        seq = event.seq
        if seq <= self._last:
            return None
        self._last = seq
        inherited = False
        while self._inherited and self._inherited[0] <= seq:
            inherited = self._inherited[0] == seq
            self._pass(self._inherited.popleft())
        if inherited:
            return None
        if not matched:
            self._pass(seq)
            return None
        self._order.append(seq)
        lane = self._lane(event.key if self._keyed else "")
        entry = self._entries[seq] = Entry(event, lane, now)
        self.held_bytes += entry.size
        lane.entries.append(entry)
        if seq in self._attempts:
            entry.attempts, entry.error = self._attempts[seq].count, self._attempts.pop(seq).error
        if lane.entries[0] is entry:
            self._startable.settle(lane)
        return entry

    def next(self, route: Hashable) -> Entry | None:
        """What would start next."""
        queue = self._startable.of(route)
        return queue[0].entries[0] if queue else None

    def take(self, route: Hashable, count: int, *, ordered: bool = False, body: int = MAX_BODY) -> list[Entry]:
        """Start up to *count* events as one batch for *route*: one per key, and more of a key only when *ordered*.

        An event that must go alone is a batch of its own.
        """
        queue = self._startable.of(route)
        batch: list[Entry] = []
        size = 0
        while queue and len(batch) < count:
            head = queue[0].entries[0]
            if batch and (head.solo or size + head.size > body):
                break
            queue.popleft().queued = False
            self._start(head)
            batch.append(head)
            size += head.size
            if head.solo:
                return batch
        if ordered and len(batch) < count and not queue:
            self._extend(batch, count, body - size)
        return batch

    def finish(self, entry: Entry) -> None:
        """The event is done: the handler succeeded, or its dead letter is stored."""
        self._leave(entry, "done")
        seq = entry.seq
        del self._entries[seq]
        if entry.payload is not None:
            self.held_bytes -= entry.size
        lane = entry.lane
        if lane.entries[0] is entry:
            lane.entries.popleft()
        else:  # a replica that finished a key's entries out of order
            lane.entries.remove(entry)
        self._settle(lane)
        order, done = self._order, self._done
        done.add(seq)
        while order and order[0] in done:
            self.floor = order.popleft()
            done.remove(self.floor)

    def release(self, entry: Entry, *, solo: bool = False) -> None:
        """It never started, or the replica is known to be done with it: it waits again, uncharged."""
        self._leave(entry, "waiting")
        entry.solo = entry.solo or solo
        self._settle(entry.lane)

    def lose(self, entry: Entry) -> None:
        """No reply: its key stays blocked until the replica confirmed or is gone."""
        self._enter(entry, "unknown")

    def park(self, entry: Entry, until: float, *, attempts: int, error: str = "") -> None:
        """Its *attempts* so far failed: block the key until monotonic *until*."""
        self._leave(entry, "parked")
        entry.attempts, entry.error = attempts, error
        self.parked += 1
        if entry.size > KEEP_PARKED and entry.payload is not None:
            entry.payload = None
            self.held_bytes -= entry.size
        heapq.heappush(self._wakes, (until, entry.seq))
        self._settle(entry.lane)

    def condemn(self, entry: Entry) -> None:
        """Its dead letter is being written; the key waits for that."""
        self._leave(entry, "dead-writing")
        self._settle(entry.lane)

    def wake(self, now: float) -> list[Entry]:
        """Let parked events whose time has come wait again; answers those whose payload must be restored first."""
        missing = []
        while self._wakes and self._wakes[0][0] <= now:
            entry = self._entries.get(heapq.heappop(self._wakes)[1])
            if entry is None or entry.state != "parked":
                continue
            if entry.payload is None:
                missing.append(entry)
            else:
                self._unpark(entry)
        return missing

    def hasten(self, now: float) -> None:
        """Let everything parked wait again at *now*: what failed may have been mended."""
        for entry in self._entries.values():
            if entry.state == "parked":
                heapq.heappush(self._wakes, (now, entry.seq))

    def restore(self, entry: Entry, payload: bytes) -> None:
        """Give a parked event its payload back; it waits again."""
        entry.payload = payload
        self.held_bytes += entry.size
        if entry.state == "parked":
            self._unpark(entry)

    def postpone(self, entry: Entry, until: float) -> None:
        """Its payload could not be read: try again at *until*."""
        heapq.heappush(self._wakes, (until, entry.seq))

    def next_wake(self) -> float | None:
        """Monotonic time at which something parked may wait again."""
        return self._wakes[0][0] if self._wakes else None

    def expired(self, cutoff: float) -> list[Entry]:
        """Heads of keys, not in flight, that the bus stored before unix time *cutoff*."""
        found = []
        for entry in self._entries.values():
            if entry.published >= cutoff:
                break
            if entry.published and entry.state in {"waiting", "parked"} and entry.lane.entries[0] is entry:
                found.append(entry)
        return found

    def block(self, key: str) -> None:
        """Let nothing of *key* start: it still runs for the owner before."""
        lane = self._lane(key)
        lane.busy += 1
        self._settle(lane)

    def unblock(self, key: str) -> None:
        """Take one block() back."""
        lane = self._lanes[key]
        lane.busy -= 1
        self._settle(lane)

    def reroute(self, route: Route) -> None:
        """The backends changed: ask *route* again for everything that waits."""
        self._startable.reroute(route)

    def _pass(self, seq: int) -> None:
        """*seq* needs nothing: the floor passes it when it may."""
        if self._order:
            self._order.append(seq)
            self._done.add(seq)
        else:
            self.floor = seq

    def _lane(self, key: str) -> Lane:
        if not key:
            return Lane("")
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        return lane

    def _settle(self, lane: Lane) -> None:
        """Queue *lane* when its head may start, forget it when it is empty."""
        if lane.entries:
            self._startable.settle(lane)
        elif lane.key and not lane.busy:
            self._lanes.pop(lane.key, None)

    def _start(self, entry: Entry) -> None:
        self._enter(entry, "started")
        entry.lane.busy += 1
        self.in_flight += 1

    def _extend(self, batch: list[Entry], count: int, body: int) -> None:
        """Let each key of *batch* run on, in order."""
        for lane in [entry.lane for entry in batch]:
            for entry in list(lane.entries)[1 : count - len(batch) + 1]:
                if entry.state != "waiting" or entry.solo or entry.size > body:
                    break
                self._start(entry)
                batch.append(entry)
                body -= entry.size

    def _unpark(self, entry: Entry) -> None:
        self._leave(entry, "waiting")
        self._settle(entry.lane)

    def _leave(self, entry: Entry, state: State) -> None:
        """Change *state* and give back what the old one counted."""
        old = entry.state
        self._enter(entry, state)
        if old in {"started", "unknown"}:
            entry.lane.busy -= 1
            self.in_flight -= 1
        elif old == "parked":
            self.parked -= 1

    @staticmethod
    def _enter(entry: Entry, state: State) -> None:
        if state not in TRANSITIONS[entry.state]:
            raise IllegalTransition(entry.seq, entry.state, state)
        entry.state = state
