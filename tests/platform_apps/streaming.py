"""Takes a topic by a stream, with the unmodified SDK; it listens on no port. Appends what it is handed to $OUT.

An event that says so kills it when it sees it for the first time.
"""

import json
import os
import signal
import time
from pathlib import Path

from dapr.clients import DaprClient

out = Path(os.environ["OUT"])

with DaprClient() as client:
    subscription = client.subscribe("pubsub", "streamed")
    for message in subscription:
        event = message.data()
        seen = [json.loads(line)["n"] for line in out.read_text().splitlines()] if out.exists() else []
        with out.open("a") as file:
            file.write(json.dumps({"n": event["n"], "pid": os.getpid()}) + "\n")
        if event.get("die") and event["n"] not in seen:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(event.get("sleep", 0))
        subscription.respond_success(message)
