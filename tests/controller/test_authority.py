"""One authority over each replica count, and the bounds that hold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.scaling import Authority, ScalePolicy, Scaler
from controller.authority import MAX, MIN, PAUSED, in_force, problems, retired

PLAIN = ScalePolicy(min=1, max=5)
FOREIGN = ScalePolicy(scalers=(Scaler(name="q", kind="azure-queue"), Scaler(name="k", kind="kafka")))


@pytest.mark.parametrize(
    ("policy", "annotations", "external", "capabilities", "wanted"),
    [
        (PLAIN, {}, False, (), Authority.EVOKE),
        (PLAIN, {}, False, ("keda",), Authority.EVOKE),
        (PLAIN, {}, True, (), Authority.EXTERNAL),
        (FOREIGN, {}, False, ("keda",), Authority.KEDA),
        (FOREIGN, {}, False, (), Authority.EVOKE),
        (FOREIGN, {}, True, ("keda",), Authority.EXTERNAL),
        (FOREIGN, {PAUSED: "true"}, True, ("keda",), Authority.PAUSED),
        (PLAIN, {PAUSED: "0"}, True, (), Authority.PAUSED),
        (PLAIN, {PAUSED: "false"}, False, (), Authority.EVOKE),
        (PLAIN, {PAUSED: ""}, False, (), Authority.EVOKE),
    ],
)
def test_authority(
    policy: ScalePolicy, annotations: dict[str, str], external: bool, capabilities: tuple[str, ...], wanted: Authority
) -> None:
    assert in_force(policy, annotations, capabilities=capabilities, external=external).authority is wanted


@pytest.mark.parametrize(
    ("annotations", "bounds"),
    [
        ({}, (1, 5)),
        ({MIN: "3"}, (3, 5)),
        ({MIN: "9"}, (9, 9)),
        ({MAX: "2"}, (1, 2)),
        ({MIN: "0", MAX: "2"}, (0, 2)),
        ({MIN: "4", MAX: "2"}, (4, 4)),
        ({MAX: "0"}, (1, 1)),
        ({MIN: "many", MAX: "-1"}, (1, 5)),
    ],
)
def test_bounds(annotations: dict[str, str], bounds: tuple[int, int]) -> None:
    policy = in_force(PLAIN, annotations)

    assert (policy.min, policy.max) == bounds


def test_a_scaler_that_nobody_reads_is_named() -> None:
    (problem,) = problems(FOREIGN, ())

    assert problem.code == "ScalerNeedsKeda"
    assert "azure-queue" in problem.message
    assert problems(FOREIGN, ("keda",)) == ()


def test_a_retired_revision_goes_when_it_is_done() -> None:
    policy = retired(in_force(PLAIN, {PAUSED: "3"}))

    assert (policy.authority, policy.min, policy.cooldown) == (Authority.EVOKE, 0, timedelta())
