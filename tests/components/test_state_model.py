"""Random changes and transactions, on every store: each does what a dict does, or refuses what the dict refuses."""

from __future__ import annotations

import random

from proxy.components.components import Components
from proxy.components.protocols import Change, EtagMismatch, Remove, StateStore, Write
from tests.components.test_state import Declared, declared, on

__all__ = ["declared"]  # the fixture

KEYS = ["a", "b", "c", "d"]
STEPS = 250


class Model:
    """What should be there: values, with a number for each version of a key."""

    def __init__(self) -> None:
        self.there: dict[str, tuple[bytes, int]] = {}
        self.count = 0

    def apply(self, changes: list[tuple[Change, int]]) -> bool:
        """Whether all of them hold; then they are made. The number is the version that an ETag stands for."""
        there = dict(self.there)
        for change, version in changes:
            if change.etag and change.concurrency != "last-write":
                if change.key not in there or there[change.key][1] != version:
                    return False
            elif change.concurrency == "first-write" and isinstance(change, Write) and change.key in there:
                return False
            if isinstance(change, Remove):
                there.pop(change.key, None)
            else:
                self.count += 1
                there[change.key] = (change.value, self.count)
        self.there = there
        return True


def test_every_store_does_what_a_dict_does(declared: Declared) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)
    model = Model()
    etags: dict[str, list[tuple[str, int]]] = {key: [] for key in KEYS}
    """Those that each key has had, with their versions."""

    def change() -> tuple[Change, int]:
        key = draw.choice(KEYS)
        etag, version = draw.choice(etags[key]) if etags[key] and draw.random() < 0.4 else ("", 0)
        concurrency = draw.choice(["", "", "first-write", "last-write"])
        if draw.random() < 0.3:
            return Remove(key=key, etag=etag, concurrency=concurrency), version  # type: ignore[arg-type] # one of the three
        value = str(draw.random()).encode()
        return Write(key=key, value=value, etag=etag, concurrency=concurrency), version  # type: ignore[arg-type] # as above

    async def body(_: Components, store: StateStore) -> None:
        for step in range(STEPS):
            changes = [change() for _ in range(draw.choice([1, 1, 2, 3, 5]))]
            holds = model.apply(changes)
            try:
                if len(changes) == 1 and draw.random() < 0.7:
                    await store.change(changes[0][0])
                else:
                    await store.transact([one for one, _ in changes])
                did = True
            except EtagMismatch:
                did = False
            assert did == holds, (seed, step, changes, model.there)
            items = await store.get(KEYS)
            there = {key: item.value for key, item in zip(KEYS, items, strict=True) if item}
            assert there == {key: value for key, (value, _) in model.there.items()}, (seed, step, changes)
            for key, item in zip(KEYS, items, strict=True):
                known = (item.etag, model.there[key][1]) if item else None
                if known and known not in etags[key]:
                    etags[key].append(known)

    on(declared, body)
