"""Who has a port that programs insist on."""

from datetime import UTC, datetime

import pytest

from api.meta import RevisionKey
from api.model import Bundle, Workload
from api.scaling import ScalePolicy
from controller.local import fixed_port
from controller.local.revisions import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(name="f", revision="00001", wanted=1, **fields):
    key = RevisionKey("default", name, revision)
    workload = Workload(key=key, artifact=Bundle(code="c", runtime="r"), **{"host": "command", **fields})
    return Record(workload=workload, scale=ScalePolicy(), created=NOW, wanted=wanted)


@pytest.mark.parametrize(
    ("fields", "port", "wanted"),
    [
        ({"port": 3000}, 3000, 1),
        ({"port": 0}, 0, 5),
        ({"port": 8080, "host": "python"}, 0, 5),
    ],
)
def test_only_programs_insist_and_have_one_replica(fields, port, wanted):
    found = record(wanted=5, **fields)

    assert fixed_port.of(found.workload) == port
    assert fixed_port.wanted(found) == wanted


def test_rivals_want_the_same_port_and_older_revisions_make_room():
    mine = record(revision="00002", port=3000)
    older, newer = record(port=3000), record(revision="00003", port=3000)
    other, elsewhere = record("g", port=3000), record("h", port=3001)
    ours = record("i", port=3000, host="python")

    rivals = fixed_port.rivals(mine, [older, mine, newer, other, elsewhere, ours])

    assert rivals == (other, newer, older)
    assert [fixed_port.yields(one, mine) for one in rivals] == [False, False, True]
    assert fixed_port.rivals(ours, [mine]) == ()
