"""From probes to a verdict."""

import asyncio
from datetime import timedelta

import pytest

from api.model import AppHealth
from controller.local.app_health import Healths, Pulse


@pytest.mark.parametrize(
    ("answers", "threshold", "verdicts"),
    [
        ("yes yes", 3, "well well"),
        ("no no yes no no", 3, "well well well well well"),
        ("no no no no yes", 3, "well well unwell unwell well"),
        ("no yes no", 1, "unwell well unwell"),
        ("no", 0, "unwell"),
    ],
)
def test_failures_in_a_row_make_unwell_and_one_success_makes_well(answers, threshold, verdicts):
    pulse, said = Pulse(), []
    for answer in answers.split():
        pulse = pulse.after(answer == "yes", threshold)
        said.append("well" if pulse.well else "unwell")

    assert " ".join(said) == verdicts


def test_only_changes_are_told_until_it_is_forgotten():
    async def go():
        answers = iter([True, False, False, False, True, True, False, False])
        told, ended, healths = [], asyncio.Event(), Healths()

        async def probe():
            answer = next(answers, None)
            if answer is None:
                ended.set()
                await asyncio.Event().wait()
            return answer

        health = AppHealth(every=timedelta(0), threshold=2)
        healths.watch("r", health, probe, lambda pulse: told.append(pulse.well))
        await ended.wait()
        healths.forget("r")
        await healths.aclose()
        return told

    assert asyncio.run(go()) == [False, True, False]
