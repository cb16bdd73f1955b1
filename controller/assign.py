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
    proxies: Collection[str],
    snapshots: Iterable[Snapshot],
    before: Mapping[str, Assignment],
    homes: Mapping[Key, str] | None = None,
) -> dict[str, Assignment]:
    """Spread everything over *proxies*; nothing moves unless its owner went or has more than its share.

    What goes to streams belongs to the proxy that they end at: the home of the function. So does what goes to a Dapr
    app: one proxy keeps count of what its replicas have, for they cannot say that it is too much. A source that is no
    singleton runs on every proxy, a webhook on none: the gateway serves it.
    """
    snapshots = tuple(snapshots)
    homed = _homed(snapshots, proxies, homes or {})
    subscriptions = [one.key for snapshot in snapshots for one in snapshot.subscriptions if one.key not in homed]
    hosts = [one for snapshot in snapshots for one in snapshot.sources if one.kind != "http"]
    single = [one.key for one in hosts if one.singleton]
    everywhere = [one.key for one in hosts if not one.singleton]
    spread = {name: [key for key in one.subscriptions if key not in homed] for name, one in before.items()}
    owned = _spread(proxies, subscriptions, spread)
    hosted = _spread(proxies, single, {name: before[name].sources for name in before})
    for key, home in homed.items():
        owned[home].append(key)
    return {
        name: Assignment(subscriptions=tuple(sorted(owned[name])), sources=tuple(sorted([*hosted[name], *everywhere])))
        for name in sorted(proxies)
    }


def _homed(snapshots: Iterable[Snapshot], proxies: Collection[str], homes: Mapping[Key, str]) -> dict[Key, str]:
    """Subscription that belongs to its function's home -> that proxy."""
    snapshots = tuple(snapshots)
    foreign = {app.key for snapshot in snapshots for app in snapshot.apps if app.protocol != "evoke"}
    found = {}
    for snapshot in snapshots:
        for one in snapshot.subscriptions:
            told = one.form != "stream" and one.backends
            function = one.backends[0].revision.function_key if told else Key(one.key.namespace, one.trigger)
            home = homes.get(function) if one.form == "stream" or function in foreign else None
            if home in proxies:
                found[one.key] = str(home)
    return found


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
