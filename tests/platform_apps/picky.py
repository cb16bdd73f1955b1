"""An app that answers each event with the status that it asks for; copied into a project, run by the platform."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OUT = Path(os.environ["OUT"])


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(404)

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with OUT.open("a") as file:
            file.write(json.dumps({"path": self.path, "id": event["id"], "data": event["data"]}) + "\n")
        self.answer(200 if self.path == "/dead" else event["data"]["status"])

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing: it is a test."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
