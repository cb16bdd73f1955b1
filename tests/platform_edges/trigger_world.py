"""A platform of two proxies with the Triggers of test_triggers.py, and an HTTP server to which their addresses lead."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from api.meta import Key
from api.platform import load
from eventbus.subjects import all_subjects, topic
from tests.platform import DEADLINE, Platform, UnixConnection, until
from tests.sources.nats_world import Outsider, outsider

T = TypeVar("T")
BUS = Key("default", "default")


class Sent(NamedTuple):
    """One request that the server was sent."""

    place: str
    """Path without its query."""
    query: str
    content_type: str
    event: dict[str, Any]


class Receiver:
    """Takes events by POST; a *broken* path answers 500 with the text that it is given."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.broken: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                place, _, query = self.path.partition("?")
                receiver.sent.append(Sent(place, query, self.headers["content-type"], json.loads(body)))
                text = receiver.broken.get(place)
                self.send_response(204 if text is None else 500)
                if text is not None:
                    self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, format: str, *words: object) -> None:  # noqa: A002  # the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def ids(self, place: str) -> list[str]:
        return [one.event["id"] for one in self.sent if one.place == place]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class World:
    def __init__(self, platform: Platform, receiver: Receiver, receipts: Path) -> None:
        self.platform, self.receiver, self._receipts = platform, receiver, receipts

    def post(self, place: str, id: str, data: Any) -> None:  # noqa: A002  # the event's
        """Send one event to the webhook ``<eventsource>/<event>``, until it is stored."""
        until(lambda: self.status(place, id, data) == 202, what=f"webhook {place}")

    def status(self, place: str, id: str, data: Any) -> int:  # noqa: A002  # the event's
        connection = http.client.HTTPConnection(self.platform.platform()["http"], timeout=DEADLINE)
        headers = {"content-type": "application/json", "webhook-id": id}
        try:
            connection.request("POST", f"/webhook/default/{place}", json.dumps(data), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def got(self, function: str, *ids: str) -> list[dict[str, Any]]:
        """What *function* was called with, in that order; *ids*: only those events."""
        lines = self._receipts.read_text().splitlines() if self._receipts.exists() else []
        calls = [json.loads(line) for line in lines]
        return [one["event"] for one in calls if one["by"] == function and (not ids or one["event"]["id"] in ids)]

    def letters(self, trigger: str) -> list[dict[str, Any]]:
        """Dead letters, as the operations API lists them."""
        connection = UnixConnection(self.platform.run / "plane-0.sock")
        try:
            connection.request("GET", f"/v1/namespaces/default/dead-letters/{trigger}")
            return [json.loads(line) for line in connection.getresponse().read().splitlines()]
        finally:
            connection.close()

    def ends(self) -> dict[str, int]:
        """Pids of everything that no failing receiver may end."""
        planes = {f"plane {number}": pid for number, pid in enumerate(sorted(self.platform.planes()))}
        return {role: pid for role, pid in self.platform.pids().items() if role != "plane"} | planes

    def assigned(self) -> list[set[str]]:
        """Names of the subscriptions of each proxy, as it keeps them for a start without controller."""
        files = sorted(self.platform.state.glob("snapshots/proxy-*/assigned"))
        return [{one["name"] for one in json.loads(file.read_bytes())["subscriptions"]} for file in files]

    def settled(self) -> None:
        """Wait until no subscription has anything before it or in work: what has not happened now will not happen."""
        self.broker(_settled)

    def members(self, subject: str) -> list[str]:
        """Who has progress on a topic, by the names of the broker."""

        async def look(client: Outsider) -> list[str]:
            return await client.consumers(topic(BUS, subject).stream)

        return self.broker(look)

    def stored(self, subject: str) -> int:
        """Events that were ever stored on a topic."""

        async def look(client: Outsider) -> int:
            return (await client.js.stream_info(topic(BUS, subject).stream)).state.last_seq

        return self.broker(look)

    def kill_proxies(self) -> None:
        for pid in self.platform.planes():
            os.kill(pid, signal.SIGKILL)

    def broker(self, work: Callable[[Outsider], Awaitable[T]]) -> T:
        here = load(self.platform.state)
        assert here is not None
        options = {"url": f"nats://{here.nats}", "user": here.nats_user, "password": here.nats_password}

        async def whole() -> T:
            async with asyncio.timeout(DEADLINE), outsider(options) as client:
                return await work(client)

        return asyncio.run(whole())


async def _settled(client: Outsider) -> None:
    """Every stream was without work in one look, and none has grown since that look began.

    Progress is written after what follows from an event is stored: so what a stream without work led to is seen.
    """
    before = None
    while True:
        stored, waiting = {}, 0
        for stream in await client.js.stream_names(all_subjects(BUS)):
            stored[stream] = (await client.js.stream_info(stream)).state.last_seq
            for name in await client.consumers(stream):
                found = await client.js.consumer_info(stream, name)  # None: its owner changes just now
                waiting += found.num_pending + found.num_ack_pending if found else 1
        if not waiting and stored == before:
            return
        before = None if waiting else stored
        await asyncio.sleep(0.02)


@contextmanager
def world(folder: Path, manifest: str, code: str, **names: str) -> Iterator[World]:
    """*manifest* has RECEIPTS, WEB and *names* in capitals for what is known only now."""
    receiver = Receiver()
    try:
        folder.mkdir()
        receipts = folder / "receipts"
        for name, value in {"RECEIPTS": str(receipts), "WEB": receiver.url, **names}.items():
            manifest = manifest.replace(f"${name}", value)
        (folder / "main.py").write_text(code)
        (folder / "evoke.yaml").write_text(manifest)
        platform = Platform(folder)
        platform.up("--proxies", "1")
        try:
            yield World(platform, receiver, receipts)
        finally:
            platform.down()
    finally:
        receiver.stop()


def ready(platform: Platform, kind: str) -> bool:
    """Whether every resource of *kind* is."""
    found = platform.request("GET", f"/v1/resources/{kind}")["items"]
    return bool(found) and all(
        any(one["type"] == "Ready" and one["status"] == "True" for one in item.get("status", {}).get("conditions", []))
        for item in found
    )
