"""The metadata API, and shutdown."""

from __future__ import annotations

from dapr.proto.runtime.v1 import metadata_pb2 as messages
from google.protobuf.empty_pb2 import Empty

from api.model import Rule
from proxy.dapr.about import Subscribed
from proxy.dapr.streams import Streams
from proxy.dapr_grpc.calls import Call


async def metadata(call: Call, request: messages.GetMetadataRequest) -> messages.GetMetadataResponse:  # noqa: ARG001 - it says nothing
    told = call.runtime.metadata(call.caller)
    components = [
        messages.RegisteredComponents(name=one.name, type=one.type, version=one.version, capabilities=one.capabilities)
        for one in told.components
    ]
    return messages.GetMetadataResponse(
        id=told.id,
        registered_components=components,
        extended_metadata=told.extended,
        subscriptions=[_subscription(one) for one in told.subscriptions],
        app_connection_properties=messages.AppConnectionProperties(protocol=told.protocol),
        runtime_version=told.version,
        enabled_features=told.features,
        actor_runtime=messages.ActorRuntime(runtime_status=messages.ActorRuntime.DISABLED),
    )


async def set_metadata(call: Call, request: messages.SetMetadataRequest) -> Empty:
    call.runtime.set_metadata(call.caller, request.key, request.value)
    return Empty()


async def shutdown(call: Call, streams: Streams) -> Empty:
    """End what this app has open here; the runtime itself is everybody's and goes on."""
    await call.runtime.shutdown(call.caller)
    streams.end("the app asked for the end of its runtime", function=call.caller.app.key)
    return Empty()


def _subscription(one: Subscribed) -> messages.PubsubSubscription:
    return messages.PubsubSubscription(
        pubsub_name=one.pubsub,
        topic=one.topic,
        metadata=one.metadata,
        rules=messages.PubsubSubscriptionRules(rules=[_rule(rule) for rule in one.rules]),
        dead_letter_topic=one.dead_letter,
        type=messages.PubsubSubscriptionType.Value(one.type),
    )


def _rule(rule: Rule) -> messages.PubsubSubscriptionRule:
    return messages.PubsubSubscriptionRule(match=rule.match, path=rule.path)
