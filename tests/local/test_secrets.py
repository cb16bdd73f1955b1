"""Secret values stand in files of their owner, and names cannot lead anywhere else."""

import stat

import pytest

from api.errors import InvalidInput, NotFound
from api.meta import Key, SecretKeyRef
from controller.local.secrets import Secrets

BROKER = Key("default", "broker")


def test_values_are_private_and_readable_by_reference(tmp_path):
    secrets = Secrets(tmp_path)
    secrets.put(BROKER, "password", b"old")
    secrets.put(BROKER, "password", "geheim ü".encode())

    assert secrets.resolve("default", SecretKeyRef(name="broker", key="password")) == "geheim ü"
    assert secrets.resolve("default", "as written") == "as written"
    assert secrets.names() == {"default/broker": frozenset({"password"})}
    assert stat.S_IMODE((tmp_path / "default/broker/password").stat().st_mode) == 0o600


def test_what_is_missing_says_how_to_set_it(tmp_path):
    secrets = Secrets(tmp_path)

    with pytest.raises(NotFound, match="evoke secret set broker password"):
        secrets.read("default", SecretKeyRef(name="broker", key="password"))
    with pytest.raises(NotFound):
        secrets.delete(BROKER)


def test_delete_takes_a_key_or_all(tmp_path):
    secrets = Secrets(tmp_path)
    for key in ("user", "password", "ca"):
        secrets.put(BROKER, key, b"x")

    secrets.delete(BROKER, "ca")
    assert secrets.names("default") == {"default/broker": frozenset({"user", "password"})}
    secrets.delete(BROKER)
    assert secrets.names() == {}


@pytest.mark.parametrize("key", ["../../state.db", "a/b", "", ".hidden"])
def test_names_stay_inside(tmp_path, key):
    with pytest.raises(InvalidInput, match="is not a name"):
        Secrets(tmp_path).put(BROKER, key, b"x")


def test_all_of_a_namespace_with_their_values(tmp_path):
    secrets = Secrets(tmp_path)
    secrets.put(BROKER, "user", b"me")
    secrets.put(BROKER, "binary", b"\xff")
    secrets.put(Key("other", "secret"), "key", b"theirs")

    assert secrets.values("default") == {"broker": {"user": "me"}}
    assert secrets.values("nowhere") == {}


def test_who_wants_to_know_hears_of_other_values_only(tmp_path):
    heard = []
    secrets = Secrets(tmp_path, heard.append)

    for value in (b"one", b"one", b"two"):
        secrets.put(BROKER, "password", value)

    assert heard == [BROKER, BROKER]
