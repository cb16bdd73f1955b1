"""Two functions from one file: `serving.handler` names which."""

import functions_framework as ff


@ff.cloud_event
def check(event):
    if "amount" not in event.data:
        raise ff.Reject("an order needs an amount")
    return event.data


@ff.batch
def record(events):
    print(f"recorded {len(events)}: " + ", ".join(str(event.data["id"]) for event in events))
