"""``evoke publish``: events onto a bus, or a message through the broker of an event source."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import payload
from cli.errors import Failed, Usage
from cli.options import Session, command_line, new_app

app = new_app()

BATCH = 500
"""Most events of one request: each is acknowledged as a whole."""
TYPE = "io.evoke.published"


@command_line(
    app,
    example="""
    evoke publish alarms -d '{"text": "too hot"}' --type alarm
    evoke publish sensors/kitchen --source readings -d '{"celsius": 31}'
    """,
)
def publish(  # noqa: PLR0913, PLR0917 - one parameter per option
    session: Session,
    subject: Annotated[str, typer.Argument(help="Subject of the bus; with --source a topic of its broker.")],
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="Through the broker of this source.")] = "",
    data: Annotated[str, typer.Option("-d", "--data", metavar="DATA|@FILE|-", help="The event's data.")] = "",
    type_: Annotated[str, typer.Option("--type", help="CloudEvents type.")] = TYPE,
    key: Annotated[str, typer.Option("--key", help="Ordering key: events of one key start in order.")] = "",
    bus: Annotated[str, typer.Option("--bus", metavar="NAME", help="The event bus.")] = "default",
    count: Annotated[int, typer.Option("-c", "--count", min=1, help="So many times.")] = 1,
    rate: Annotated[float, typer.Option("--rate", min=0, help="At most so many a second; 0: no limit.")] = 0,
) -> None:
    """Publish events. It says `acknowledged` only after the bus, or the source's broker, has stored them."""
    if source and (key or type_ != TYPE or bus != "default"):
        raise Usage("--key, --type and --bus do not go with --source", hint="the source decides them")
    body = payload.read(data)
    client, done, started = session.client, 0, time.monotonic()
    for size in portions(count, rate):
        if source:
            sent = client.publish_through(source, {"topic": subject, **message(body), "count": size})
        else:
            sent = client.publish(bus, subject, [event(body, type_, key, subject) for _ in range(size)])
        if sent != size:
            raise Failed(f"only {done + sent} of {count} were acknowledged", hint="publish the rest again")
        done += sent
        if rate and done < count and (ahead := started + done / rate - time.monotonic()) > 0:
            time.sleep(ahead)
    session.out.done({"published": done}, f"published {done} (acknowledged)")


def portions(count: int, rate: float) -> Iterator[int]:
    """Sizes of the requests that make *count*: full ones, or a tenth of a second's worth of *rate*."""
    size = min(BATCH, max(1, int(rate / 10))) if rate else BATCH
    while count > 0:
        yield min(size, count)
        count -= size


def event(body: bytes, type_: str, key: str, subject: str) -> dict[str, Any]:
    """The structured CloudEvent for *body*; a body that already is one keeps all it says."""
    whole = payload.event(body)
    if whole is not None:
        return {"id": str(uuid.uuid4()), **whole, **({"partitionkey": key} if key else {})}
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "evoke/publish",
        "type": type_,
        "subject": subject,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    if key:
        members["partitionkey"] = key
    if body:
        members |= payload.members(body)
    return members


def message(body: bytes) -> dict[str, str]:
    """A broker message's payload, byte for byte."""
    try:
        return {"payload": body.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(body).decode()}
