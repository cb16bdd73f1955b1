"""Which parts of the API an app's Configuration leaves it (spec.api); pure.

Source: Dapr's API allow lists: rules bind the protocol that they name; health is always there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from api.model import ApiRule, App
from proxy.dapr.errors import DaprError


def allowed(app: App, protocol: Literal["http", "grpc"], version: str, name: str) -> bool:
    """*name* is the first part of an HTTP path after the *version*: ``publish``, ``state``..."""
    if not app.allowed_apis and not app.denied_apis:
        return True
    if _names(app.denied_apis, protocol, version, name):
        return False
    mine = [rule for rule in app.allowed_apis if rule.protocol == protocol]
    return not mine or _names(mine, protocol, version, name)


def require(app: App, protocol: Literal["http", "grpc"], version: str, name: str) -> None:
    """Raise DaprError for a part that the app may not call."""
    if not allowed(app, protocol, version, name):
        message = f"{version}/{name} is not among the APIs that the Configuration of app id {app.id} allows"
        raise DaprError(403, "UNIMPLEMENTED", "ERR_API_NOT_ALLOWED", message)


def _names(rules: Iterable[ApiRule], protocol: str, version: str, name: str) -> bool:
    return any(
        rule.protocol == protocol and rule.version == version and name in {rule.name, rule.name.partition("/")[0]}
        for rule in rules
    )
