"""Where in an app an event goes: the rules of a Dapr subscription, tried in order; pure.

Source: Dapr's routing of events (dapr/pkg/runtime/subscription). A rule sees the event as the app does. One that is
neither true nor false ends the event with that reason: tried again it would end the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from api.errors import InvalidInput
from api.model import Rule, Subscription
from proxy.forms import shown
from proxy.outcomes import Outcome
from triggers.evaluation import Truth
from triggers.expressions import compile_expression
from triggers.filters import Fields

SHOWN = 80
"""Characters of a rule that people read in a reason."""
UNMATCHED = Outcome("unmatched", "no routing rule matches, and there is no default path")


class Routing:
    """Compiled once per change of the subscription."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._fields = Fields()
        self._rules = [self._compiled(rule) for rule in subscription.rules]
        self._decode = self._fields.decoder().decode if self._rules else None

    @property
    def fixed(self) -> bool:
        """Every event goes to the subscription's path."""
        return self._decode is None

    def of(self, payload: bytes) -> str | Outcome:
        """Path for the event that the app is shown as *payload*, or what becomes of it without one."""
        if self._decode is None:
            return self._subscription.path
        try:
            record = self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Outcome("malformed", f"no structured CloudEvent: {error}")
        for rule, test in zip(self._subscription.rules, self._rules, strict=True):
            told = test(record) if callable(test) else None
            if told is None:
                why = test if isinstance(test, str) else "it is neither true nor false of this event"
                return Outcome("unroutable", f"routing rule `{rule.match[:SHOWN]}`: {why}")
            if told:
                return rule.path
        return UNMATCHED if self._subscription.unmatched else self._subscription.path

    def ends(self, payload: bytes) -> Outcome | None:
        """What becomes of the event that came in as *payload*, where no path takes it."""
        if self._decode is None:
            return None
        found = self.of(shown(self._subscription, payload))
        return found if isinstance(found, Outcome) else None

    def _compiled(self, rule: Rule) -> Callable[[Any], Truth] | str:
        """The rule as a test, or why it does not compile."""
        if not rule.match.strip():
            return lambda _record: True
        try:
            return compile_expression(rule.match, self._fields.getter)
        except InvalidInput as error:
            return str(error)
