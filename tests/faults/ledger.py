"""What was sent, what was acknowledged, what was handled: three files outside the system, and the checker over them.

A producer writes *intended* before it publishes and *acked* after the acknowledgement; the function appends one receipt
line per handled event (one write, shorter than a pipe buffer). Nothing of the platform touches these files.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Verdict:
    """Counts of one run; a run is clean when nothing is lost, phantom or misordered."""

    intended: int
    acked: int
    received: int
    dead: int
    lost: tuple[str, ...] = ()
    """Acknowledged, neither handled nor in the dead letters."""
    phantom: tuple[str, ...] = ()
    """Handled, never sent."""
    misordered: tuple[str, ...] = ()
    """Keys whose first successes are not in the order in which they were sent."""
    duplicates: int = 0
    detail: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.phantom or self.misordered)

    def __str__(self) -> str:
        return (
            f"intended {self.intended}, acked {self.acked}, received {self.received}, dead {self.dead}, "
            f"lost {len(self.lost)} {self.lost[:5]}, phantom {len(self.phantom)}, "
            f"misordered {len(self.misordered)} {self.misordered[:3]}, duplicates {self.duplicates}"
        )


@dataclass(frozen=True)
class Receipt:
    id: str
    key: str
    number: int


def judge(
    intended: Iterable[Receipt], acked: Iterable[str], receipts: Iterable[Receipt], dead: Iterable[str]
) -> Verdict:
    """Compare the ledgers; an event that was sent but never acknowledged may go either way."""
    sent = {receipt.id: receipt for receipt in intended}
    acknowledged, letters = set(acked), set(dead)
    handled = list(receipts)
    times = Counter(receipt.id for receipt in handled)
    return Verdict(
        intended=len(sent),
        acked=len(acknowledged),
        received=len(times),
        dead=len(letters),
        lost=tuple(sorted(acknowledged - set(times) - letters)),
        phantom=tuple(sorted(set(times) - set(sent))),
        misordered=tuple(sorted(_misordered(handled))),
        duplicates=sum(times.values()) - len(times),
    )


def _misordered(handled: Iterable[Receipt]) -> set[str]:
    highest: dict[str, int] = {}
    seen: set[str] = set()
    wrong: set[str] = set()
    for receipt in handled:
        if receipt.id in seen:
            continue
        seen.add(receipt.id)
        if receipt.number < highest.get(receipt.key, -1):
            wrong.add(receipt.key)
        highest[receipt.key] = max(receipt.number, highest.get(receipt.key, -1))
    return wrong


class Ledger:
    """The producer's files in one folder, and the function's receipts beside them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.receipts = folder / "receipts.jsonl"
        self.receipts.touch()
        self._intended = (folder / "intended.jsonl").open("a+", encoding="utf-8")
        self._acked = (folder / "acked.txt").open("a+", encoding="utf-8")

    def close(self) -> None:
        self._intended.close()
        self._acked.close()

    def intend(self, receipt: Receipt) -> None:
        self._intended.write(json.dumps({"id": receipt.id, "key": receipt.key, "n": receipt.number}) + "\n")
        self._intended.flush()

    def ack(self, event_id: str) -> None:
        self._acked.write(event_id + "\n")
        self._acked.flush()

    def received(self) -> list[Receipt]:
        with self.receipts.open(encoding="utf-8") as file:
            return [_receipt(line) for line in file if line.endswith("\n")]

    def acked(self) -> set[str]:
        self._acked.seek(0)
        found = set(self._acked.read().split())
        self._acked.seek(0, os.SEEK_END)
        return found

    def intended(self) -> list[Receipt]:
        self._intended.seek(0)
        found = [_receipt(line) for line in self._intended]
        self._intended.seek(0, os.SEEK_END)
        return found

    def verdict(self, dead: Iterable[str] = ()) -> Verdict:
        return judge(self.intended(), self.acked(), self.received(), dead)

    def missing(self, dead: Iterable[str] = ()) -> int:
        """How many acknowledged events are still on their way."""
        return len(self.acked() - {receipt.id for receipt in self.received()} - set(dead))


def _receipt(line: str) -> Receipt:
    entry = json.loads(line)
    return Receipt(entry["id"], entry["key"], entry["n"])
