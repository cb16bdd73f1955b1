"""Takes every alert; a real one would call somebody's pager, this one waits as long and writes it down."""

import asyncio
import json
import os
import time

import functions_framework as ff

ALERTS = os.environ.get("ALERTS", "")


@ff.cloud_event
async def notify(event):
    alert = {**event.data, "handled_at": time.time()}
    await asyncio.sleep(0.05)
    print(alert["text"])
    if ALERTS:
        with open(ALERTS, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - one short line, appended whole
            file.write(json.dumps(alert) + "\n")
