"""An app without any SDK: copied into a project, run by the platform. Appends what it is handed to $OUT."""

import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME, OUT = os.environ["APP_ID"], Path(os.environ["OUT"])


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/dapr/subscribe":
            return self.answer(200, [{"pubsubname": "pubsub", "topic": NAME, "route": "/events"}])
        if self.path == "/healthz":
            return self.answer(500 if OUT.with_suffix(".sick").exists() else 204)
        return self.answer(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/events":
            return self.answer(200, {"pid": os.getpid(), "said": body})
        time.sleep(body["data"].get("sleep", 0))
        note(body)
        if "then" in body["data"]:
            publish(body["data"]["then"], {"n": body["data"]["n"]})
        return self.answer(200, {"status": "SUCCESS"})

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Nothing: it is a test."""


def note(event):
    line = json.dumps({"id": event["id"], "n": event["data"]["n"], "pid": os.getpid()})
    with OUT.open("a") as file:
        file.write(line + "\n")


def publish(topic, data):
    url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/publish/pubsub/{topic}"
    request = urllib.request.Request(url, json.dumps(data).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ["APP_PORT"])), App).serve_forever()
