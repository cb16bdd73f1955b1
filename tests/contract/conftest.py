"""The backends that keep the contract, and the real brokers below them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("bus"), "os")
    yield nats
    nats.stop()


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.broker)])
def broker(request: pytest.FixtureRequest) -> Broker:
    return Broker(request.param, request.getfixturevalue("server").options if request.param == "nats" else {})


@pytest.fixture
def real(server: Nats) -> Broker:
    return Broker("nats", server.options)
