"""Turns the platform into a broken build: Python imports this before anything else where PYTHONPATH names this folder.

Only the tests set that, and BROKEN_BUILD; the product knows neither. Each defect is one that real systems had. With
FAKETIME_LIBRARY it puts that library under the planes, instead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

BUILD = os.environ.get("BROKEN_BUILD", "")
ROLE = next((word for word in sys.orig_argv if word.startswith("controller.local.")), "")


def ack_early() -> None:
    """An event counts as done once it was sent to the replica."""
    from proxy.outcomes import DONE
    from proxy.post import Poster

    post = Poster.post
    running = set()

    async def early(self: Any, endpoint: Any, batch: Any, wall: float) -> Any:
        task = asyncio.ensure_future(post(self, endpoint, list(batch), wall))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(0)
        return [DONE] * len(batch)

    Poster.post = early  # type: ignore[method-assign]


def auto_commit() -> None:
    """What the broker handed over is committed, whatever becomes of it."""
    from proxy.intake import Inflow

    deliver = Inflow.deliver

    def and_commit(self: Any, events: Any) -> None:
        deliver(self, events)
        for event in events[-1:]:
            asyncio.ensure_future(self._hold.intake.commit(event.share, event.seq, ()))  # noqa: RUF006 - short

    Inflow.deliver = and_commit  # type: ignore[method-assign]


def skip_drain() -> None:
    """A replica that should go is killed, whatever it does."""
    from controller.local.fleet import Replicas
    from replicas.server import ControlServer

    async def stop(_self: Any, replica: Any, _grace: float) -> None:
        replica.phase = "draining"
        await replica.zygote.signal(replica.id, signal.SIGKILL)
        await replica.gone.wait()

    async def close(*_arguments: Any, **_options: Any) -> bool:
        return True

    Replicas.stop = stop  # type: ignore[method-assign]
    ControlServer.close = close  # type: ignore[method-assign]


def drop_on_500() -> None:
    """A failure is taken for an answer."""
    from proxy.settle import Settler

    def fail(_self: Any, window: Any, entry: Any, *_arguments: Any, **_options: Any) -> None:
        window.finish(entry)

    Settler._fail = fail  # type: ignore[method-assign]


def discard_old() -> None:
    """A full stream forgets its oldest events to take new ones."""
    from eventbus.jetstream.api import JetStream
    from eventbus.jetstream.bus import JetStreamBus

    ensure = JetStream.ensure_stream

    async def forgetful(self: Any, config: Any) -> Any:
        return await ensure(self, {**config, "discard": "old"})

    async def admit(*_arguments: Any) -> None:
        """Everybody is let in."""

    JetStream.ensure_stream = forgetful  # type: ignore[method-assign]
    JetStreamBus._admit = admit  # type: ignore[method-assign]


def forget_parked() -> None:
    """Progress passes what waits for its next attempt; that is kept in memory only."""
    from eventbus.jetstream.intake import JetStreamIntake
    from proxy.settle import Settler

    park = Settler._park

    async def past_parked(self: Any, window: Any, *arguments: Any) -> None:
        await park(self, window, *arguments)
        entries = list(window)
        busy = [entry.seq for entry in entries if entry.state != "parked"]
        floor = min(busy) - 1 if busy else max((entry.seq for entry in entries), default=window.floor)
        await self._hold.intake.commit(window.share, floor, ())

    async def nothing(*_arguments: Any) -> None:
        """No attempt is written down."""

    Settler._park = past_parked  # type: ignore[method-assign]
    JetStreamIntake.record_attempt = nothing  # type: ignore[method-assign]


BUILDS = {
    "ack early": ("controller.local.plane", ack_early),
    "auto-commit": ("controller.local.plane", auto_commit),
    "skip drain": ("controller.local.main", skip_drain),
    "drop on 500": ("controller.local.plane", drop_on_500),
    "discard old": ("controller.local.plane", discard_old),
    "forget parked retries": ("controller.local.plane", forget_parked),
}

if ROLE == "controller.local.plane" and "FAKETIME_LIBRARY" in os.environ and "LD_PRELOAD" not in os.environ:
    os.environ["LD_PRELOAD"] = os.environ["FAKETIME_LIBRARY"]
    os.execv(sys.executable, sys.orig_argv)
if BUILD and ROLE and BUILDS[BUILD][0] == ROLE:
    BUILDS[BUILD][1]()
    sys.stderr.write(f"this is a broken build: {BUILD}\n")
