"""The files of the ledger, outside the system: the producer's journal and the receipts that handlers write.

Both are only ever appended to. The producer writes *intended* and syncs it before it publishes, then what became of it.
A handler writes its receipts in one write that begins and ends a line, so that one that was torn by a kill spoils
no other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.faults.ledger import Receipt, Sent, Verdict, judge

RECEIPT = """
import hashlib, os

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND)

def receipt(sent, attempt):
    text = f"{sent['id']}|{sent['key']}|{sent['n']}|{sent['body']}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{sent['id']} {sent['key']} {sent['n']} {digest} {attempt} {os.getpid()}"

def hand_in(*receipts):
    os.write(RECEIPTS, ("\\n" + "\\n".join(receipts) + "\\n").encode())
"""
"""What a function does to hand in receipts; stands in front of its handlers."""


class Ledger:
    """One run's folder. The same folder opened again goes on where it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.receipts = folder / "receipts"
        self.receipts.touch()
        self._path = folder / "journal"
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._read = 0
        self._received: list[Receipt] = []
        self._handled: set[str] = set()
        self._intended: dict[str, Receipt] = {}
        self._fates: dict[str, set[str]] = {"acked": set(), "failed": set(), "unknown": set()}
        for line in _lines(self._path):
            self._remember(line.split())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def intend(self, *receipts: Receipt) -> None:
        self._append([f"intended {one.id} {one.key} {one.number} {one.digest}" for one in receipts])

    def ack(self, *ids: str) -> None:
        self._append([f"acked {id_}" for id_ in ids])

    def fail(self, *ids: str) -> None:
        """Refused: it cannot have been stored."""
        self._append([f"failed {id_}" for id_ in ids])

    def doubt(self, *ids: str) -> None:
        """No answer: it may have been stored."""
        self._append([f"unknown {id_}" for id_ in ids])

    def _append(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        os.write(self._file, ("\n".join(lines) + "\n").encode())
        os.fdatasync(self._file)
        for line in lines:
            self._remember(line.split())

    def _remember(self, words: list[str]) -> None:
        fate, id_ = words[:2]
        if fate == "intended":
            self._intended[id_] = Receipt(id_, words[2], int(words[3]), words[4])
        else:
            self._fates[fate].add(id_)

    @property
    def sent(self) -> Sent:
        return Sent(self._intended, self._fates["acked"], self._fates["failed"])

    @property
    def acked(self) -> int:
        return len(self._fates["acked"])

    def received(self) -> list[Receipt]:
        """Receipts so far, in the order of their writing."""
        with self.receipts.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        for line in text[:whole].split(b"\n"):
            words = line.decode().split(" ")
            if len(words) == 6:
                id_, key, number, digest, attempt, pid = words
                self._received.append(Receipt(id_, key, int(number), digest, int(attempt), int(pid)))
                self._handled.add(id_)
        return self._received

    def starts(self) -> list[tuple[str, int]]:
        """Id and attempt of every call that began, where the function writes them down."""
        path = self.receipts.with_name("receipts.starts")
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(id_, int(attempt)) for id_, attempt, _pid in map(str.split, lines)]

    def behind(self) -> int:
        """About how many acknowledged events are still on their way; cheap."""
        self.received()
        return len(self._fates["acked"]) - len(self._handled)

    def missing(self, dead: Iterable[str] = ()) -> int:
        """How many acknowledged events are still on their way."""
        letters = set(dead)
        behind = self.behind()
        return behind if behind > len(letters) else len(self._fates["acked"] - self._handled - letters)

    def verdict(self, dead: Iterable[str] = (), *, budget: int | None = None) -> Verdict:
        return judge(self.sent, self.received(), dead, budget=budget)


def _lines(path: Path) -> Iterator[str]:
    """Whole lines; the last one may have been torn by a kill of the producer."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield line
