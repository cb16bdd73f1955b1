"""Who receives events: a function, an HTTP address, another topic of the bus; pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from api import addresses
from api.errors import Problem
from api.kinds import fields
from api.meta import Key
from api.model import Sink, TopicSink, UriSink
from controller.readers import names
from controller.readers.model import Scope

KNATIVE = "knative"
"""Capability of a substrate on which Knative runs."""


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver: *function* or *sink*, never both."""

    name: str
    """In keys and groups: the same receiver keeps its progress over edits of everything else."""
    function: Key | None = None
    sink: Sink | None = None


def receiver(given: fields.Sink, namespace: str) -> Receiver:
    """Of a sink that has no problems."""
    if given.ref is None:
        return Receiver(name=names.address(given.uri or ""), sink=UriSink(url=given.uri or ""))
    if given.ref.kind == "Function":
        return Receiver(name=given.ref.name, function=Key(namespace, given.ref.name))
    url = f"http://{given.ref.name}.{namespace}.svc.cluster.local"
    return Receiver(name=f"service-{given.ref.name}", sink=UriSink(url=url))


def topic(subject: str) -> Receiver:
    """Another topic of the same bus."""
    return Receiver(name=f"topic-{names.token(subject)}", sink=TopicSink(subject=subject))


def problems(given: fields.Sink | None, path: str, scope: Scope) -> Iterator[Problem]:
    """What this substrate cannot send to; api.consistency has checked the rest."""
    if given is None:
        return
    if given.ref is not None and given.ref.kind == "Service" and KNATIVE not in scope.capabilities:
        message = f"a {given.ref.kind} is Knative's, which is not here; name a Function, or its address in uri"
        yield Problem(code="NotHere", path=f"{path}.ref.kind", message=message)
    if given.uri is not None and "processes" not in scope.capabilities and addresses.is_loopback(given.uri):
        message = "loopback is the proxy's own pod on Kubernetes; name the receiver's Service"
        yield Problem(code="NotHere", path=f"{path}.uri", message=message)
