"""A FastAPI app with Dapr's extension. Appends what it is handed to $OUT."""

import json
import os
from pathlib import Path

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

app = FastAPI()
dapr = DaprApp(app)


@dapr.subscribe(pubsub="pubsub", topic="fast")
def handed(event: dict) -> None:
    line = json.dumps({"id": event["id"], "n": event["data"]["n"], "pid": os.getpid()})
    with Path(os.environ["OUT"]).open("a") as file:
        file.write(line + "\n")


uvicorn.run(app, port=int(os.environ["APP_PORT"]), log_level="warning")
