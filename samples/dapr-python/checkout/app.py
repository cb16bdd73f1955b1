"""An app written for Dapr's SDK: it takes orders, remembers them and says that they are paid."""

import json
import os

import uvicorn
from dapr.clients import DaprClient
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

app = FastAPI()
dapr = DaprApp(app)


@dapr.subscribe(pubsub="pubsub", topic="orders")
def ordered(event: dict):
    order = event["data"]
    with DaprClient() as client:
        client.save_state("statestore", order["id"], json.dumps(order))
        client.publish_event("pubsub", "paid", json.dumps(order), data_content_type="application/json")
    print("paid", order["id"], flush=True)
    return {"status": "SUCCESS"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("APP_PORT", "8000")), log_level="warning")
