"""Runs for telemetry below 20 %: says so to whoever listens on the topic alerts."""

import functions_framework as ff


@ff.cloud_event
async def low_battery(event):
    reading = event.data
    return {
        "vehicle": reading["vehicle"],
        "battery": reading["battery"],
        "sent_at": reading["sent_at"],
        "text": f"{reading['vehicle']} is down to {reading['battery']} %",
    }
