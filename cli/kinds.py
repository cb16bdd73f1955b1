"""The kinds that get, describe and delete know, under every name that people type.

The same as api.kinds.NAMES (a test says so) without loading every type of every kind for one command.
"""

from __future__ import annotations

from cli.errors import Usage, did_you_mean

ALIASES: dict[str, tuple[str, ...]] = {
    "function": ("functions", "fn", "fns"),
    "serving": ("servings",),
    "builder": ("builders", "fb"),
    "eventbus": ("eventbuses", "bus", "buses", "eb"),
    "clustereventbus": ("clustereventbuses", "ceb"),
    "eventsource": ("eventsources", "source", "sources", "es"),
    "trigger": ("triggers", "tr"),
    "gateway": ("gateways",),
    "component": ("components",),
    "subscription": ("subscriptions",),
    "resiliency": ("resiliencies",),
    "configuration": ("configurations",),
    "scaledobject": ("scaledobjects", "so"),
    "scaledjob": ("scaledjobs", "sj"),
    "triggerauthentication": ("triggerauthentications", "ta"),
}
ORDER = tuple(ALIASES)
PLURALS = {"eventbus": "eventbuses", "clustereventbus": "clustereventbuses", "resiliency": "resiliencies"}
_CANONICAL = {name: kind for kind, names in ALIASES.items() for name in (kind, *names)}


def plural(kind: str) -> str:
    return PLURALS.get(kind, f"{kind}s")


def canonical(word: str, *, all_too: bool = False) -> str:
    """The kind that *word* names, lower-case and singular; ``all`` where that is allowed."""
    if all_too and word == "all":
        return "all"
    if kind := _CANONICAL.get(word.lower()):
        return kind
    if word.lower() in {"secret", "secrets"}:
        raise Usage("secrets are not listed with the resources", code="E163", hint="use `evoke secret list`")
    known = [*_CANONICAL, *(["all"] if all_too else [])]
    raise Usage(
        f"no kind '{word}'", code="E163", hint=did_you_mean(word, known, otherwise=f"one of {', '.join(ORDER)}")
    )


def split(kind: str, name: str | None, *, all_too: bool = False) -> tuple[str, str | None]:
    """Read ``KIND NAME`` or ``KIND/NAME``."""
    if "/" in kind and name is None:
        kind, _, name = kind.partition("/")
    return canonical(kind, all_too=all_too), name or None
