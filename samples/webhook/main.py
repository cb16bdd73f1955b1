import functions_framework as ff


@ff.cloud_event
def book(event):
    return {"booked": event.data["amount"]}
