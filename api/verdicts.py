"""Who honours a field: the verdicts that the tables of api.support are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

Where = Literal["both", "kubernetes", "local", "later", "refused"]


class Support(msgspec.Struct, frozen=True):
    """Verdict on a field; *why* says what happens instead, and what to do."""

    where: Where
    why: str = ""


BOTH = Support("both")
LATER = Support("later", "it comes with a later release")


def later(why: str) -> Support:
    return Support("later", why)


def kubernetes(why: str) -> Support:
    return Support("kubernetes", why)


def refused(why: str) -> Support:
    return Support("refused", why)
