"""One event per order that is both paid and packed."""

import functions_framework as ff


@ff.cloud_event
def ship(event):
    paid, packed = event.data["paid"]["data"], event.data["packed"]["data"]
    if "address" not in packed:
        raise ff.Reject("a parcel needs an address")
    return {"order": paid["order"], "to": packed["address"], "parcels": len(packed["items"])}
