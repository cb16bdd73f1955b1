"""``state.jetstream``: a key-value bucket of a NATS server, or of the platform's own where no address is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from api.model import Component
from proxy.components.declaration import Declared, about
from proxy.components.families import StateMetadata
from proxy.components.jetstream_names import own_bucket
from proxy.components.protocols import ComponentFailed
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from proxy.components.jetstream_bucket import JetStreamState

_SIGN = "give user and password in natsURL, a token, or a client certificate"
_BUCKET = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Metadata(StateMetadata, frozen=True, kw_only=True):
    """Keeps state in JetStream, with ETags, transactions and expiry, which daprd's component lacks."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType(
        {**StateMetadata.NOTED, "name": "connections are named after the component"}
    )
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({**StateMetadata.REFUSED, "jwt": _SIGN, "seedKey": _SIGN})

    nats_url: Annotated[str, about(secret=True)] = msgspec.field(name="natsURL", default="")
    """``nats://`` or ``tls://``, several separated by commas; user and password may stand in it. Empty: the platform's
    own server."""
    bucket: str = ""
    """Name of the bucket, made if it is not there; empty: one of the component's own."""
    token: Annotated[str, about(secret=True)] = ""
    """Ours: token to sign in with."""
    ca_cert: Annotated[str, about(secret=True)] = ""
    """Ours: PEM of the authority; empty: the system's."""
    client_cert: Annotated[str, about(secret=True)] = ""
    """Ours: PEM of our certificate."""
    client_key: Annotated[str, about(secret=True)] = ""
    """Ours: PEM of its key."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            yield "bucket", f"`{self.bucket[:40]}` is no name of a bucket; use letters, digits, - and _"
        if not self.nats_url and (self.token or self.ca_cert or self.client_cert):
            yield "natsURL", "it is missing, and the platform's own server takes no credentials of yours"
        if bool(self.client_cert) != bool(self.client_key):
            yield "clientCert", "clientCert and clientKey go together"


def embedded(around: Surroundings) -> dict[str, str]:
    """Options of a connection to the platform's own server; raises ComponentFailed where there is none."""
    platform = around.platform
    if platform is None:
        raise ComponentFailed("natsURL is missing, and this platform has no NATS server of its own", reason="Missing")
    return {"url": f"nats://{platform.nats}", "user": platform.nats_user, "password": platform.nats_password}


def open_store(component: Component, metadata: Metadata, around: Surroundings) -> JetStreamState:
    from proxy.components.jetstream_bucket import JetStreamState

    if not metadata.nats_url:
        options = embedded(around)
        return JetStreamState(lambda: options, own_bucket(component, metadata.bucket), name=f"evoke-{component.name}")
    given = {
        "url": metadata.nats_url,
        "token": metadata.token,
        "caCert": metadata.ca_cert,
        "clientCert": metadata.client_cert,
        "clientKey": metadata.client_key,
    }
    bucket = metadata.bucket or own_bucket(component)
    return JetStreamState(lambda: given, bucket, name=f"evoke-{component.name}")


DECLARED = Declared(
    type="state.jetstream", metadata=Metadata, open=open_store, features=("ETAG", "TRANSACTIONAL", "TTL")
)
