"""How long a client waits before it connects again."""

from __future__ import annotations

from eventbus.mqtt.link import LONGEST_PAUSE, STABLE, STEPS, Pauses


def test_tries_that_fail_come_ever_slower() -> None:
    pauses = Pauses()

    assert [pauses.refused() for _ in range(len(STEPS) + 2)] == [*STEPS, STEPS[-1], STEPS[-1]]


def test_a_good_connection_is_made_anew_at_once() -> None:
    pauses = Pauses()
    for _ in range(20):
        assert pauses.broke(STABLE + 1, taken=False) == STEPS[0]
        assert not pauses.flapping


def test_two_clients_of_one_id_do_not_take_turns_without_end() -> None:
    pauses = Pauses()
    taken = [pauses.broke(0.1, taken=True) for _ in range(6)]
    silent = Pauses()
    unsaid = [silent.broke(0.1, taken=False) for _ in range(10)]

    assert taken == [4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert unsaid[:3] == [STEPS[0]] * 3
    assert unsaid[3:6] == [2.0, 4.0, 8.0]
    assert unsaid[-1] == LONGEST_PAUSE
    assert silent.flapping


def test_a_broker_that_restarts_is_no_other_client() -> None:
    pauses = Pauses()
    for _ in range(10):
        assert pauses.broke(5.0, taken=False) == STEPS[0]
        pauses.refused()
        assert not pauses.flapping
