"""A bridge to kill: an MQTT source in a process of its own, whose bus is a file that takes a line per message."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import msgspec

from api.meta import Key
from api.model import Source
from triggers.sources.mqtt import MqttSource


async def main(path: str, delay: float, options: dict[str, str]) -> None:
    source = Source(key=Key("default", "a.b"), kind="mqtt", options={}, bus=Key("default", "default"), subject="s")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def publish(payload: bytes, *, key: str, dedupe: str) -> None:
        await asyncio.sleep(delay)
        os.write(file, json.dumps([key, msgspec.json.decode(payload)["data"]]).encode() + b"\n")

    bridge = MqttSource(source, options)
    running = asyncio.create_task(bridge.run(publish))
    while not bridge.state().connected:  # noqa: ASYNC110  # nothing tells when
        await asyncio.sleep(0.01)
    Path(f"{path}.ready").touch()  # noqa: ASYNC240  # once, and nothing else runs yet
    await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])))
