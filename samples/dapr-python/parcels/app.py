"""An app written for Dapr's gRPC extension: it sends what is paid."""

import json
import os

from dapr.clients import DaprClient
from dapr.ext.grpc import App

app = App()


@app.subscribe(pubsub_name="pubsub", topic="paid")
def paid(event) -> None:
    order = json.loads(event.Data())
    with DaprClient() as client:
        if client.get_state("statestore", order["id"]).data:
            return  # the same event came a second time
        client.save_state("statestore", order["id"], "sent")
    print("sent", order["id"], flush=True)


app.run(int(os.environ.get("APP_PORT", "50051")))
