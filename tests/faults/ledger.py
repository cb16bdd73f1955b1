"""The checker: what was sent and acknowledged against what was handled and what was given up. It knows no broker.

Events are numbered by their producer, and the numbers of one key are sent in order; *digest* covers the content.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

SAMPLE = 5
"""Offenders that a verdict shows of each kind."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """One event as its producer made it, or as a handler saw it."""

    id: str
    key: str
    number: int
    digest: str = ""
    attempt: int = 1
    pid: int = 0


class Sent(msgspec.Struct, frozen=True):
    """The producer's journal."""

    intended: Mapping[str, Receipt]
    acked: Collection[str]
    failed: Collection[str] = frozenset()
    """Refused for certain: not to be handled. What is in neither is unknown and may go either way."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one run; clean when each of the six kinds of damage is absent."""

    intended: int
    acked: int
    failed: int = 0
    unknown: int = 0
    received: int
    dead: int
    lost: tuple[str, ...] = ()
    """Acknowledged, neither handled nor in the dead letters."""
    lost_where: dict[str, int] = {}
    """How many of them lie before the first event that was handled (``prefix``), after the last (``postfix``), or
    between (``middle``)."""
    phantom: tuple[str, ...] = ()
    """Handled, and never sent or refused for certain."""
    corrupt: tuple[str, ...] = ()
    """Handled with another content than was sent."""
    misordered: tuple[str, ...] = ()
    """Keys whose first successes are not in the order in which they were sent."""
    twice_dead: tuple[str, ...] = ()
    """More than one dead letter."""
    duplicates: int = 0
    budget: int | None = None
    """Duplicates that the faults of the run excuse; None: any number."""

    @property
    def findings(self) -> dict[str, int]:
        """Kind of damage -> how much, the absent ones left out."""
        over = 0 if self.budget is None else max(0, self.duplicates - self.budget)
        found = {
            "lost": len(self.lost),
            "phantom": len(self.phantom),
            "corrupt": len(self.corrupt),
            "misordered": len(self.misordered),
            "twice dead": len(self.twice_dead),
            "duplicates over budget": over,
        }
        return {kind: count for kind, count in found.items() if count}

    @property
    def clean(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        allowed = "" if self.budget is None else f" of {self.budget} allowed"
        where = f" {self.lost_where}" if self.lost else ""
        offenders = {
            "lost": self.lost,
            "phantom": self.phantom,
            "corrupt": self.corrupt,
            "misordered": self.misordered,
            "twice dead": self.twice_dead,
        }
        return (
            f"intended {self.intended}, acked {self.acked}, failed {self.failed}, unknown {self.unknown}, "
            f"received {self.received}, dead {self.dead}, duplicates {self.duplicates}{allowed}, lost {len(self.lost)}"
            + where
            + "".join(f", {kind} {found[:SAMPLE]}" for kind, found in offenders.items() if found)
        )


def digest(id_: str, key: str, number: int, body: str) -> str:
    """What producer and handler compute, each from its own copy."""
    return hashlib.sha256(f"{id_}|{key}|{number}|{body}".encode()).hexdigest()[:16]


def judge(sent: Sent, receipts: Iterable[Receipt], dead: Iterable[str] = (), *, budget: int | None = None) -> Verdict:
    """Compare the ledgers; *dead* are the ids of the events in the dead letters."""
    handled = list(receipts)
    letters = Counter(dead)
    times = Counter(receipt.id for receipt in handled)
    acked = frozenset(sent.acked)
    refused = frozenset(sent.failed) - acked
    lost = acked.difference(times, letters)
    known = sent.intended
    return Verdict(
        intended=len(known),
        acked=len(acked),
        failed=len(refused),
        unknown=len(known) - len(acked) - len(refused),
        received=len(times),
        dead=len(letters),
        lost=tuple(sorted(lost, key=lambda id_: known[id_].number)),
        lost_where=_where(sorted(known[id_].number for id_ in lost), known, times),
        phantom=tuple(sorted(id_ for id_ in times if id_ not in known or id_ in refused)),
        corrupt=tuple(sorted({one.id for one in handled if one.id in known and _differs(one, known[one.id])})),
        misordered=tuple(sorted(_misordered(handled))),
        twice_dead=tuple(sorted(id_ for id_, count in letters.items() if count > 1)),
        duplicates=sum(times.values()) - len(times),
        budget=budget,
    )


def _differs(seen: Receipt, made: Receipt) -> bool:
    return (seen.key, seen.number, seen.digest) != (made.key, made.number, made.digest)


def _where(lost: list[int], known: Mapping[str, Receipt], times: Collection[str]) -> dict[str, int]:
    """Jepsen's classes: a lost prefix, middle or postfix of what was sent have different causes."""
    if not lost:
        return {}
    handled = [known[id_].number for id_ in times if id_ in known]
    first, last = (min(handled), max(handled)) if handled else (0, -1)
    classes = Counter("prefix" if n < first else "postfix" if n > last else "middle" for n in lost)
    return dict(sorted(classes.items()))


def _misordered(handled: Iterable[Receipt]) -> set[str]:
    highest: dict[str, int] = {}
    seen: set[str] = set()
    wrong: set[str] = set()
    for receipt in handled:
        if receipt.id in seen:
            continue
        seen.add(receipt.id)
        before = highest.get(receipt.key, -1)
        if receipt.number < before:
            wrong.add(receipt.key)
        else:
            highest[receipt.key] = receipt.number
    return wrong
