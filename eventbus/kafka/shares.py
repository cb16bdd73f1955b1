"""Progress of one owner since its takeover, share by share, and which of it is not committed yet; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eventbus.bus import Attempt, Progress
from eventbus.kafka.group import Committed
from eventbus.kafka.marks import Marks
from eventbus.kafka.wire import Place


class Share:
    """One partition."""

    def __init__(self, place: Place, taken: Committed) -> None:
        self.place = place
        self.floor = taken.floor
        self.done = set(taken.marks.done)
        self.attempts: dict[int, Attempt] = dict(taken.marks.attempts)
        self.changed = 0
        """Number of its last change; 0: none."""
        self.written = 0
        """Number of the last change that is committed."""
        self.next = taken.floor
        """Offset that was committed last."""

    def passed(self, delivered: int, position: int) -> int:
        """The floor, and behind it what is no event: markers of transactions, compacted records, duplicates.

        *delivered* is the last sequence that was handed out, *position* the offset of the next record.
        """
        return max(self.floor, position) if self.floor >= delivered else self.floor


class Shares:
    """All partitions of one subscription."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.each: dict[int, Share] = {}
        self.changes = 0

    def add(self, share: int, place: Place, taken: Committed) -> None:
        self.each[share] = Share(place, taken)

    def taken(self) -> Progress:
        """For the window above, before anything changed."""
        return Progress(
            floors={share: one.floor for share, one in self.each.items()},
            done={share: frozenset(one.done) for share, one in self.each.items()},
            attempts={(share, seq): a for share, one in self.each.items() for seq, a in one.attempts.items()},
        )

    def finish(self, share: int, floor: int, done: Collection[int]) -> None:
        """Everything up to *floor* is done, and *done* above it; never moves back."""
        one = self.each[share]
        one.floor = max(one.floor, floor)
        one.done = {seq for seq in one.done.union(done) if seq > one.floor}
        for seq in [seq for seq in one.attempts if seq <= one.floor or seq in one.done]:
            del one.attempts[seq]
        self._change(one)

    def fail(self, share: int, seq: int, attempt: Attempt) -> None:
        one = self.each[share]
        one.attempts[seq] = attempt
        self._change(one)

    def _change(self, one: Share) -> None:
        self.changes += 1
        one.changed = self.changes

    def unwritten(self, passed: Mapping[int, int]) -> dict[Place, Committed]:
        """What a commit has to say; *passed*: share -> what Share.passed() says now."""
        return {
            one.place: self._mark(one, passed[share])
            for share, one in self.each.items()
            if one.changed > one.written or passed[share] > one.next
        }

    def _mark(self, one: Share, floor: int) -> Committed:
        done = frozenset(seq for seq in one.done if seq > floor)
        return Committed(floor, Marks(self.epoch, done, dict(one.attempts)))

    def wrote(self, marks: Mapping[Place, Committed], change: int) -> None:
        """*marks* are committed, with every change up to the number *change*."""
        for one in self.each.values():
            if one.place in marks:
                one.written = max(one.written, min(one.changed, change))
                one.next = marks[one.place].floor
