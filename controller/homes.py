"""Which proxy is the home of which function: where its API listeners are and its streams are owned; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from api.meta import Key


def homes(functions: Iterable[Key], proxies: Collection[str], before: Mapping[Key, str]) -> dict[Key, str]:
    """A proxy for each of *functions*, spread evenly; one that has a home keeps it while its proxy is among *proxies*.

    Empty without proxies: whoever asks keeps what he knew.
    """
    if not proxies:
        return {}
    wanted = sorted(set(functions))
    found = {key: before[key] for key in wanted if before.get(key) in proxies}
    loads = dict.fromkeys(sorted(proxies), 0)
    for name in found.values():
        loads[name] += 1
    for key in (one for one in wanted if one not in found):
        name = min(loads, key=lambda one: (loads[one], _rank(one, key)))
        found[key] = name
        loads[name] += 1
    return found


def _rank(proxy: str, function: Key) -> bytes:
    """The same function comes to the same one of equally loaded proxies, whatever came before."""
    return hashlib.sha256(f"{proxy} {function}".encode()).digest()
