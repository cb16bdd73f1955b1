"""The relay does to real connections what it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.relay import Relay, Weather


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with Relay(server.getsockname()[1]) as relay:
            yield relay


def _echo(server: socket.socket) -> None:
    def back(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
            except OSError:
                pass

    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=back, args=(connection,), daemon=True).start()


def connected(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=10)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    found = b""
    while len(found) < len(data):
        found += connection.recv(1 << 16)
    return found


def test_bytes_arrive_unchanged_in_any_weather(relay: Relay) -> None:
    data = bytes(range(256)) * 4000
    with connected(relay) as connection:
        for weather in (Weather(), Weather(delay=0.02, jitter=0.02), Weather(piece=1000)):
            relay.set(weather)
            assert exchange(connection, data) == data


def test_delay_is_one_way_and_both_ways(relay: Relay) -> None:
    with connected(relay) as connection, relay.storm(Weather(delay=0.1)):
        began = time.monotonic()
        exchange(connection, b"x")

        assert time.monotonic() - began >= 0.2


def test_a_hole_keeps_silent_and_then_delivers(relay: Relay) -> None:
    with connected(relay) as connection:
        exchange(connection, b"before")
        with relay.storm(Weather(hole=True)):
            connection.sendall(b"held")
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(10)
        connection.settimeout(10)
        assert connection.recv(10) == b"held"


def test_a_reset_is_seen_by_the_client(relay: Relay) -> None:
    with connected(relay) as connection:
        exchange(connection, b"x")
        relay.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


def test_refused_connections_end_at_once(relay: Relay) -> None:
    relay.set(Weather(refuse=True))
    with pytest.raises(ConnectionResetError):
        _receive(relay)


def _receive(relay: Relay) -> None:
    with connected(relay) as connection:
        connection.recv(10)
