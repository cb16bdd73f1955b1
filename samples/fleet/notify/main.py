"""Takes every alert; a real one would call a person, this one writes it down where ALERTS says."""

import json
import os
import time

import functions_framework as ff

ALERTS = os.environ.get("ALERTS", "")


@ff.cloud_event
async def notify(event):
    alert = {**event.data, "handled_at": time.time()}
    print(alert["text"])
    if ALERTS:
        with open(ALERTS, "a", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - one short line, appended whole
            file.write(json.dumps(alert) + "\n")
