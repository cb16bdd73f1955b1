import functions_framework as ff


@ff.cloud_event
def watch(event):
    celsius = float(event.data)
    print(f"{celsius} degrees")
    return {"alarm": f"the oven has {celsius:.0f} degrees"} if celsius > 200 else None


@ff.cloud_event
def ring(event):
    print(event.data["alarm"])
