"""Ports of apps: none twice, none that somebody has, the same at the next start."""

import pytest

from api.errors import Unavailable
from api.meta import Key
from controller.local.app_ports import FIRST, LAST, AppPorts
from controller.local.sqlite import connect

F, G = Key("default", "f"), Key("default", "g")


def port(address):
    return int(address.rpartition(":")[2])


def test_listeners_are_the_same_at_the_next_start(tmp_path):
    first = AppPorts(connect(tmp_path / "db"), seed="here")
    before = first.listener(F)

    again = AppPorts(connect(tmp_path / "db"), seed="elsewhere")

    assert again.listener(F) == before == first.listener(F)
    assert len({before.http, before.grpc, again.listener(G).http, again.listener(G).grpc}) == 4


def test_nobody_gets_what_another_has(tmp_path):
    few = {FIRST + 7, FIRST + 8, FIRST + 9}
    ports = AppPorts(connect(tmp_path / "db"), is_free=few.__contains__)

    listener, lent = ports.listener(F), ports.lend("r1")

    assert {port(listener.http), port(listener.grpc), lent} == few
    assert ports.lend("r1") == lent
    with pytest.raises(Unavailable, match="no port from"):
        ports.lend("r2")
    ports.give_back("r1")
    assert ports.lend("r2") == lent


def test_what_somebody_took_meanwhile_is_chosen_anew(tmp_path):
    before = AppPorts(connect(tmp_path / "db")).listener(F)
    ports = AppPorts(connect(tmp_path / "db"), is_free=lambda one: one != port(before.grpc))

    assert ports.renew() == [F]
    assert ports.listener(F).grpc != before.grpc
    assert ports.renew() == []


def test_functions_that_are_gone_leave_their_ports(tmp_path):
    ports = AppPorts(connect(tmp_path / "db"))
    kept = ports.listener(F)
    ports.listener(G)

    ports.keep({F})

    again = AppPorts(connect(tmp_path / "db"), is_free=lambda one: FIRST <= one <= LAST)
    assert again.listener(F) == kept
    assert [row[0] for row in again._db.execute("SELECT function FROM app_listeners")] == ["f"]


def test_platforms_of_one_machine_begin_at_different_places(tmp_path):
    here = AppPorts(connect(tmp_path / "a"), seed="/a", is_free=lambda _: True)
    there = AppPorts(connect(tmp_path / "b"), seed="/b", is_free=lambda _: True)

    assert here.listener(F) != there.listener(F)
