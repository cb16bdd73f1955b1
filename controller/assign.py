"""Which proxy owns which subscription and which source: exactly one each, sticky, spread by count; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from api.meta import Key
from api.model import Snapshot


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What one proxy owns, sorted."""

    subscriptions: tuple[Key, ...] = ()
    sources: tuple[Key, ...] = ()


def assign(
    proxies: Collection[str], snapshots: Iterable[Snapshot], before: Mapping[str, Assignment]
) -> dict[str, Assignment]:
    """Spread everything over *proxies*; nothing moves unless its owner went or has more than its share.

    A source that is no singleton runs on every proxy, a webhook on none: the gateway serves it.
    """
    snapshots = tuple(snapshots)
    subscriptions = [one.key for snapshot in snapshots for one in snapshot.subscriptions]
    hosts = [one for snapshot in snapshots for one in snapshot.sources if one.kind != "http"]
    single = [one.key for one in hosts if one.singleton]
    everywhere = [one.key for one in hosts if not one.singleton]
    owned = _spread(proxies, subscriptions, {name: before[name].subscriptions for name in before})
    hosted = _spread(proxies, single, {name: before[name].sources for name in before})
    return {
        name: Assignment(subscriptions=tuple(sorted(owned[name])), sources=tuple(sorted([*hosted[name], *everywhere])))
        for name in sorted(proxies)
    }


def _spread(
    proxies: Collection[str], items: Sequence[Key], before: Mapping[str, Sequence[Key]]
) -> dict[str, list[Key]]:
    """Item lists by proxy, no two of which differ by more than one in length."""
    shares: dict[str, list[Key]] = {name: [] for name in sorted(proxies)}
    if not shares:
        return shares
    fair, larger = divmod(len(set(items)), len(shares))
    free = set(items)
    by_load = sorted(shares, key=lambda name: (-len(before.get(name, ())), name))  # the fuller ones keep the odd item
    for place, name in enumerate(by_load):
        room = fair + (place < larger)
        shares[name] = [key for key in sorted(before.get(name, ())) if key in free][:room]
        free -= set(shares[name])
    for key in sorted(free):
        emptiest = min(shares, key=lambda name: (len(shares[name]), name))
        shares[emptiest].append(key)
    return shares
