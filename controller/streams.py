"""What apps have subscribed to by streams: kept in the status of the Function, so that no restart forgets it; pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api.actions import Observed
from api.meta import Key
from api.model import AppSubscription
from controller.deployment import Deployment

FIELD = "streams"
"""Field of the status."""


def remembered(deployment: Deployment, observed: Observed) -> tuple[AppSubscription, ...]:
    """Streams of a function: those of its status, and those that were opened since."""
    opened = observed.streams.get(str(deployment.key), ())
    found = {(one.pubsub, one.topic): one for one in stored(deployment)}
    found |= {(one.pubsub, one.topic): msgspec.structs.replace(one, stream=True) for one in opened}
    return tuple(found[place] for place in sorted(found))


def stored(deployment: Deployment) -> tuple[AppSubscription, ...]:
    """Streams that the status has: only those are subscribed, so that a controller that comes back knows them all."""
    try:
        found = msgspec.convert(deployment.resource.status.get(FIELD, []), list[AppSubscription])
        return tuple(found)
    except msgspec.ValidationError:
        return ()  # of another release: the proxy tells again what is open


def unstored(deployments: Mapping[Key, Deployment], observed: Observed) -> bool:
    """Whether a stream was opened that no status has yet."""
    opened = (deployments[key] for name in observed.streams if (key := Key.parse(name)) in deployments)
    return any(remembered(one, observed) != stored(one) for one in opened)
