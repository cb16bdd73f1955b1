"""pubsub.jetstream: streams that somebody else has made on a NATS server; a topic is a subject of one of them.

The stream stays in front: publishes go there and wait for its acknowledgement. What it holds is brought into the
platform's own store by a bridge per subject, a durable pull consumer of ours, owned by one proxy and acknowledged
behind the store. The user's server then holds neither attempts nor dead letters nor a consumer per replica, its
acknowledgement timer never runs out on a slow function, and its retention cannot take away what is still to be tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from api.model import Bus, Component, Option
from proxy.components.declaration import ComponentMetadata, Declared, about
from proxy.components.options import given, renamed, text

_CONSUMER = "the consumer is ours: durable, pulled, acknowledged once the platform has stored the message"
_RETRY = "retries follow the delivery of the subscription (resiliency); the server never redelivers by a timer"
_SIGN = "give user and password in natsURL, a token, or a client certificate"


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """A NATS server with streams."""

    nats_url: Annotated[str, about(secret=True)] = msgspec.field(name="natsURL")
    """``nats://`` or ``tls://``, several separated by commas; user and password may stand in it."""
    token: Annotated[str, about(secret=True)] = ""
    """Token to log in with."""
    tls_client_cert: Annotated[str, about(secret=True)] = msgspec.field(name="tls_client_cert", default="")
    """PEM of our certificate (Dapr: a path)."""
    tls_client_key: Annotated[str, about(secret=True)] = msgspec.field(name="tls_client_key", default="")
    """PEM of its key (Dapr: a path)."""
    stream_name: str = ""
    """The stream; empty: the one that has the subject."""
    deliver_policy: Literal["all", "last", "new", "sequence", "time"] = "all"
    """Where a subject is read from when nothing of it was read yet."""
    start_sequence: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """First sequence, with deliverPolicy sequence."""
    start_time: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Unix seconds, with deliverPolicy time."""
    consumer_id: str = msgspec.field(name="consumerID", default="")
    """Who shares the progress; empty: the app id."""
    domain: str = ""
    """JetStream domain."""
    api_prefix: str = ""
    """Prefix of JetStream's API where it is imported from another account."""

    NOTED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("durableName", "queueGroupName", "flowControl", "replicas", "memoryStorage"), _CONSUMER),
        **dict.fromkeys(("rateLimit", "heartbeat", "ackPolicy", "maxAckPending", "name"), _CONSUMER),
        **dict.fromkeys(("ackWait", "maxDeliver", "backOff"), _RETRY),
        "concurrency": "keys run beside each other, up to what the replicas take",
    }
    REFUSED: ClassVar[Mapping[str, str]] = {"jwt": _SIGN, "seedKey": _SIGN}

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """What goes together."""
        if bool(self.tls_client_cert) != bool(self.tls_client_key):
            yield "tls_client_cert", "tls_client_cert and tls_client_key go together"
        for name, pem in (("tls_client_cert", self.tls_client_cert), ("tls_client_key", self.tls_client_key)):
            if pem and not pem.lstrip().startswith("-----BEGIN"):
                yield name, "expected the text of a PEM, not a path: give it by secretKeyRef"
        if self.deliver_policy == "sequence" and self.start_sequence is None:
            yield "startSequence", "deliverPolicy sequence needs it"
        if self.deliver_policy == "time" and self.start_time is None:
            yield "startTime", "deliverPolicy time needs it"


def bus(component: Component) -> Bus:
    """The event bus of the component."""
    names = {
        "natsURL": "url",
        "token": "token",
        "tls_client_cert": "clientCert",
        "tls_client_key": "clientKey",
        "streamName": "stream",
        "domain": "domain",
        "apiPrefix": "apiPrefix",
    }
    options: dict[str, Option] = {**renamed(component, names), "start": _start(component), "dapr": "true"}
    return Bus(key=component.key, kind="jetstream", options=options)


def _start(component: Component) -> str:
    """As bus option ``start`` (eventbus/start.py)."""
    policy = text(component, "deliverPolicy", "all").lower()
    known = given(component)
    if policy == "sequence":
        return f"sequence:{known.get('startsequence', '1')}"
    if policy == "time":
        return f"time:{known.get('starttime', '0')}"
    return policy


DECLARED = Declared(
    type="pubsub.jetstream", metadata=Metadata, bus=bus, summary="Streams that exist on a NATS server, never made here"
)
