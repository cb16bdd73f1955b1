"""The client library's metadata task may end for good; the cluster must not wait for it for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.meta import Key
from api.model import Bus
from eventbus.kafka.bus import KafkaBus
from tests.kafka import start_kafka

pytestmark = pytest.mark.broker


def test_metadata_are_read_again_after_their_task_died(tmp_path: Path) -> None:
    kafka = start_kafka(tmp_path)

    async def scenario() -> None:
        bus = KafkaBus(Bus(key=Key("default", "work"), kind="kafka", options=dict(kafka.options)), str)
        await bus.connect()
        client = bus._cluster._client
        task, read = client._sync_task, client._metadata_update

        async def fail(*_arguments: Any) -> None:
            raise RuntimeError("the handler is closed")  # what uvloop says of a connection that it closed

        client._metadata_update = fail
        waiting = client.force_metadata_update()
        await asyncio.wait([task], timeout=10)
        client._metadata_update = read
        async with asyncio.timeout(10):
            await bus._cluster.refresh()
        waiting.cancel()
        assert isinstance(task.exception(), RuntimeError)
        await bus.close()

    try:
        asyncio.run(scenario())
    finally:
        kafka.stop()
