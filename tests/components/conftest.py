"""Real servers below the components."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers import Nats, start_nats
from tests.redis import Redis, start_redis


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="package")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"), "os")
    yield server
    server.stop()
