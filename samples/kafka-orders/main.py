import functions_framework as ff


@ff.cloud_event
def check(event):
    if "amount" not in event.data:
        raise ff.Reject("an order needs an amount")
    return event.data


@ff.batch
def record(events):
    for event in events:
        print(f"recorded {event.data['id']} of {event.partitionkey}")
