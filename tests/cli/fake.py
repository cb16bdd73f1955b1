"""A platform that only answers: both APIs on real Unix sockets, from a table that the test writes."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Route = tuple[str, str]
"""Method and path without the query."""


class Lines(list[Any]):
    """An answer that is one JSON object per line."""


class Platform:
    """*answers* maps a route to (status, body), a Lines being sent as NDJSON. *asked* keeps what came."""

    def __init__(self) -> None:
        self.answers: dict[Route, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def on(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answers[method, path] = (status, body)

    def bodies(self, method: str) -> list[Any]:
        return [body for verb, _, body in self.asked if verb == method]


def handler(platform: Platform) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(size)
            platform.asked.append((self.command, self.path, json.loads(body) if body else None))
            missing = (404, {"error": {"code": "E194", "message": f"nothing at {self.path}"}})
            status, answer = platform.answers.get((self.command, self.path.partition("?")[0]), missing)
            lines = answer if isinstance(answer, Lines) else [answer]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class names them so

        def log_message(self, *_: object) -> None: ...

        def address_string(self) -> str:
            return "test"

    return Handler


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextmanager
def running(run: Path) -> Iterator[Platform]:
    """Serve on the sockets of the run folder *run*."""
    platform = Platform()
    run.mkdir(parents=True, mode=0o700)
    servers = [Server(str(run / name), handler(platform)) for name in ("controller.sock", "plane-0.sock")]
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield platform
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def resource(kind: str, name: str, *, ready: str = "True", reason: str = "Ready", **fields: Any) -> dict[str, Any]:
    """A resource as the controller answers it."""
    meta = {"name": name, "namespace": "default", "uid": f"{kind}-{name}", "generation": 1}
    condition = {"type": "Ready", "status": ready, "reason": reason, "observedGeneration": 1}
    status = {"conditions": [condition], **fields.pop("status", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": {}, "status": status, **fields}
