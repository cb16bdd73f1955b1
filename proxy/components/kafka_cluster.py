"""What all Kafka components take: where the cluster is, who we are there, and how records are written and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from api.model import Component, Option
from proxy.components.declaration import ComponentMetadata, about
from proxy.components.options import given, renamed, text, truth

MECHANISMS = {
    "plaintext": "PLAIN",
    "plain": "PLAIN",
    "sha-256": "SCRAM-SHA-256",
    "scram-sha-256": "SCRAM-SHA-256",
    "sha-512": "SCRAM-SHA-512",
    "scram-sha-512": "SCRAM-SHA-512",
}
"""Dapr's name, or Kafka's -> Kafka's."""
_OURS = "the client has one setting that fits every cluster"
_RETRY = "retries follow the delivery of the subscription (resiliency), and a failing key blocks only itself"
_OIDC = "log in with authType password or mtls"
_REGISTRY = "records are handed over as they stand; decode them in the function"


class KafkaMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """Fields that pubsub.kafka and bindings.kafka share."""

    brokers: str
    """Brokers to begin with, separated by commas."""
    auth_type: Literal["none", "password", "mtls", "certificate", ""] = ""
    """How to log in; empty: by authRequired, which Dapr has given up."""
    auth_required: bool = False
    """Older form of authType: ``password`` with a password, else ``mtls``."""
    sasl_username: str = ""
    """User, with authType password."""
    sasl_password: Annotated[str, about(secret=True)] = ""
    """Password, with authType password."""
    sasl_mechanism: Literal["PLAINTEXT", "PLAIN", "SHA-256", "SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAINTEXT"
    """SASL mechanism, with authType password."""
    ca_cert: Annotated[str, about(secret=True)] = ""
    """PEM of the authority that the brokers' certificates come from; empty: the system's."""
    client_cert: Annotated[str, about(secret=True)] = ""
    """PEM of our certificate, with authType mtls."""
    client_key: Annotated[str, about(secret=True)] = ""
    """PEM of its key."""
    skip_verify: bool = False
    """Take any certificate of a broker. For trials only."""
    disable_tls: bool = False
    """No TLS, whatever authType says."""
    consumer_group: str = ""
    """Group of the progress; empty: consumerID."""
    consumer_id: str = msgspec.field(name="consumerID", default="")
    """Older name of consumerGroup; empty: the app id."""
    client_id: str = msgspec.field(name="clientID", default="")
    """What brokers log of us; empty: ``evoke``."""
    initial_offset: Literal["newest", "oldest"] = "newest"
    """Where a group begins that has read nothing."""
    max_message_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Largest message that is published; 0: what the platform and the topic take."""
    escape_headers: bool = False
    """Hand header values over URL-escaped."""
    exclude_header_meta_regex: str = ""
    """Headers and metadata whose names match are neither written nor handed over."""

    NOTED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("consumeRetryEnabled", "consumeRetryInterval", "backOffDuration", "backOffMaxRetries"), _RETRY
        ),
        **dict.fromkeys(("backOffPolicy", "backOffInitialInterval", "backOffMaxInterval"), _RETRY),
        **dict.fromkeys(("backOffMultiplier", "backOffMaxElapsedTime", "backOffRandomizationFactor"), _RETRY),
        **dict.fromkeys(("heartbeatInterval", "sessionTimeout", "dialTimeout", "readTimeout", "writeTimeout"), _OURS),
        **dict.fromkeys(("metadataTimeout", "channelBufferSize", "consumerFetchMin", "consumerFetchDefault"), _OURS),
        **dict.fromkeys(
            ("clientConnectionTopicMetadataRefreshInterval", "clientConnectionKeepAliveInterval", "metadataRetryMax"),
            _OURS,
        ),
        "version": "the protocol's version is agreed with the brokers",
        "consumerGroupRebalanceStrategy": "one proxy owns a subscription, so nothing is shared out",
        "producerRequiredAcks": "a publish returns when all in-sync replicas have it",
        "producerRetryMax": "a publish is tried again until its deadline, stored once",
        "compression": "batches are written as they are; set compression.type of the topic to have the broker do it",
        "useAvroJSON": _REGISTRY,
    }
    REFUSED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("oidcTokenEndpoint", "oidcClientID", "oidcClientSecret", "oidcScopes"), _OIDC),
        **dict.fromkeys(("oidcExtensions", "awsRegion", "awsAccessKey", "awsSecretKey", "awsSessionToken"), _OIDC),
        **dict.fromkeys(("awsIamRoleArn", "awsStsSessionName"), _OIDC),
        **dict.fromkeys(("schemaRegistryURL", "schemaRegistryAPIKey", "schemaRegistryAPISecret"), _REGISTRY),
        **dict.fromkeys(("schemaCachingEnabled", "schemaLatestVersionCacheTTL", "valueSchemaType"), _REGISTRY),
    }

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """What each way to log in needs."""
        way = self.auth_type or ("password" if self.sasl_password else "mtls" if self.auth_required else "none")
        if way == "password" and not (self.sasl_username and self.sasl_password):
            yield "saslUsername", "authType password needs saslUsername and saslPassword"
        if way == "certificate" and not self.ca_cert:
            yield "caCert", "authType certificate needs caCert"
        if bool(self.client_cert) != bool(self.client_key):
            yield "clientCert", "clientCert and clientKey go together"


def cluster(component: Component) -> dict[str, Option]:
    """Options by which eventbus/kafka finds the cluster and logs in."""
    names = {"brokers": "brokers", "clientID": "clientID", "maxMessageBytes": "maxMessageBytes"}
    found = renamed(component, {**names, "excludeHeaderMetaRegex": "excludeHeaders"})
    for switch, option in (("escapeHeaders", "escapeHeaders"), ("skipVerify", "skipVerify")):
        if truth(component, switch):
            found[option] = "true"
    if text(component, "initialOffset").lower() == "oldest":
        found["start"] = "all"
    way = _way(component)
    if way == "password":
        found |= renamed(component, {"saslUsername": "saslUsername", "saslPassword": "saslPassword"})
        found["saslMechanism"] = MECHANISMS.get(text(component, "saslMechanism", "plain").lower(), "PLAIN")
    if way == "none" or truth(component, "disableTls"):
        return {**found, "tls": "false"}
    found |= renamed(component, {"caCert": "caCert", "clientCert": "clientCert", "clientKey": "clientKey"})
    return {**found, "tls": "true"}


def _way(component: Component) -> str:
    """How to log in, as Dapr works it out from older fields."""
    way = text(component, "authType").lower()
    if way or not truth(component, "authRequired"):
        return way or "none"
    return "password" if "saslpassword" in given(component) else "mtls"
