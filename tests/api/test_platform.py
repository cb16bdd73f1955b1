"""Addresses are kept while they are free, and a token is only good for the function it was made for."""

import socket
import stat

import msgspec

from api import platform
from api.meta import Key


def test_ports_differ_and_are_kept(tmp_path):
    first = platform.choose(None)
    platform.save(tmp_path, first)

    again = platform.choose(platform.load(tmp_path))

    assert len({first.http, first.mqtt, first.nats, first.dapr, first.dapr_grpc}) == 5
    assert again == first
    assert stat.S_IMODE((tmp_path / "platform.json").stat().st_mode) == 0o600


def test_durability_is_of_one_start():
    first = platform.choose(None, durability="os")

    assert first.durability == "os"
    assert platform.choose(first).durability == "sync"


def test_a_taken_port_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        before = msgspec.structs.replace(platform.choose(None), mqtt=address)

        assert platform.choose(before).mqtt != address
        assert platform.choose(before).key == before.key


def test_what_nobody_has_to_find_leaves_the_known_ports_alone():
    first = platform.choose(None, anywhere=True)
    again = platform.choose(first, anywhere=True)

    for one in (first, again):
        ports = {int(address.rpartition(":")[2]) for address in (one.http, one.mqtt, one.nats, one.dapr, one.dapr_grpc)}
        assert len(ports) == 5
        assert not ports & set(platform.PREFERRED.values())
    assert again.nats != first.nats
    assert again.key == first.key


def test_a_platform_of_an_earlier_release_gets_the_address_that_it_lacks(tmp_path):
    first = platform.choose(None)
    old = {name: value for name, value in msgspec.to_builtins(first).items() if name != "dapr_grpc"}
    (tmp_path / "platform.json").write_bytes(msgspec.json.encode(old))

    again = platform.choose(platform.load(tmp_path))

    assert again.dapr_grpc.startswith("127.0.0.1:")
    assert again.nats_password == first.nats_password


def test_absent_state_has_no_platform(tmp_path):
    assert platform.load(tmp_path) is None


def test_a_token_names_its_caller_and_nobody_else():
    here = platform.choose(None)
    token = here.token(Key("default", "on-reading"))

    assert here.caller(token) == Key("default", "on-reading")
    assert here.caller(token.replace("on-reading", "other")) is None
    assert here.caller("") is None
    assert platform.choose(None).caller(token) is None


def test_socket_paths_stay_short(tmp_path):
    deep = tmp_path.joinpath(*["deeply-nested-project"] * 8)

    assert len(str(platform.run_directory(deep) / "r" / ("f" * 40 + "-00001-abcdef.sock"))) < 107
