"""An app of Dapr's gRPC extension, which calls the API through DaprClient. Appends what it is handed to $OUT."""

import json
import os
import warnings
from pathlib import Path

from dapr.clients import DaprClient
from dapr.ext.grpc import App

warnings.simplefilter("ignore")
app = App()


@app.subscribe(pubsub_name="pubsub", topic="calls")
def handed(event) -> None:
    data = json.loads(event.Data())
    with Path(os.environ["OUT"]).open("a") as file:
        file.write(json.dumps({"id": event.id, "n": data["n"], "pid": os.getpid()}) + "\n")
    if "then" in data:
        with DaprClient() as client:
            client.publish_event(
                "pubsub", data["then"], json.dumps({"n": data["n"]}), data_content_type="application/json"
            )


app.run(int(os.environ["APP_PORT"]))
