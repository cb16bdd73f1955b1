"""The receiver of one subscription at one epoch."""

from __future__ import annotations

from api.model import JoinSink, Subscription, TopicSink, UriSink
from eventbus.bus import EventBus
from proxy.app_post import AppReceiver
from proxy.receiver import Receiver
from proxy.sink_join import JoinReceiver
from proxy.sink_topic import TopicReceiver
from proxy.sink_uri import UriReceiver
from proxy.stream_receiver import StreamReceiver
from proxy.wiring import Wiring


def receiver(subscription: Subscription, epoch: int, wiring: Wiring, bus: EventBus) -> Receiver:
    """*bus* is the subscription's own."""
    match subscription.sink:
        case None if subscription.form == "stream":
            return StreamReceiver(wiring.streams, subscription)
        case None:
            return AppReceiver(subscription, epoch, wiring)
        case UriSink() as sink:
            return UriReceiver(wiring.outside, sink, subscription.delivery.timeout.total_seconds())
        case TopicSink() as sink:
            return TopicReceiver(bus, subscription.key, sink)
        case JoinSink() as sink:
            return JoinReceiver(sink, wiring.bus, wiring.join)
