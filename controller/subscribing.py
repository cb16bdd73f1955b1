"""What Dapr apps subscribe to, out of all the places where that is said; pure.

For one app, component and topic one subscription counts: the one that the running app declares, else a trigger of the
Function, else the first Subscription by name. They share a key, so an app that declares it another way goes on where it
was. A stream is a subscription beside those, with progress of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from api.component_scopes import is_named, names, permits
from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.meta import Key
from api.model import App, AppDeclaration, AppSubscription, Component, Source, Subscription
from api.topic_scopes import denied
from controller.bindings import bound, takes
from controller.deployment import Deployment
from controller.identities import apps_of, resilience_of
from controller.places import Place, defect, place
from controller.readers import names as keys
from controller.readers import resiliency, templates
from controller.readers.model import ComponentTrigger, ResiliencyModel
from controller.reading import Models
from controller.snapshot import delivered
from controller.streams import stored
from proxy.components import registry
from proxy.dapr.streams import CREDIT

ABSENT = "ComponentNotFound"
SHOWN = 3
"""Apps that the condition of a Subscription names at most."""


_TRUE = frozenset({"y", "yes", "true", "t", "on", "1"})
"""What Dapr reads as true in metadata."""


class Complaint(msgspec.Struct, frozen=True):
    """Why an app does not get what it asks for: a reason of condition Subscribed."""

    reason: str
    message: str


class Subscribed(msgspec.Struct, kw_only=True):
    """Of one namespace."""

    apps: tuple[App, ...] = ()
    subscriptions: dict[Key, tuple[Subscription, ...]] = {}
    """Function -> what brings it events through components."""
    sources: dict[Key, tuple[Source, ...]] = {}
    """Component -> what reads it for functions."""
    complaints: dict[Key, tuple[Complaint, ...]] = {}
    """Function -> what it asks for in vain."""
    problems: dict[Key, tuple[Problem, ...]] = {}
    """Subscription (of dapr.io) -> why it is not in force for some app."""
    served: dict[Key, tuple[Key, ...]] = {}
    """Subscription (of dapr.io) -> the subscriptions made of it."""


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription that somebody asks for."""

    asked: AppSubscription
    resource: Key | None = None
    """Subscription that says so; None: the app or its Function."""
    programmatic: bool = False
    made: bool = False
    """A trigger on an EventBus: its reader has made the subscription."""


def subscribe(namespace: str, models: Models, deployments: Mapping[Key, Deployment]) -> Subscribed:
    """Everything of *namespace*, for every function by name."""
    found = Subscribed()
    here = [one for key, one in sorted(deployments.items()) if key.namespace == namespace]
    apps = apps_of(namespace, models)
    guarded = {app.key: resilience_of(app, models, apps) for app in apps}
    found.apps = tuple(msgspec.structs.replace(app, resilience=guarded[app.key][1]) for app in apps)
    owners = {app.key: app for app in found.apps}
    groups: dict[tuple[Key, str, str], Key] = {}
    for one in here:
        if one.key in owners:
            _App(owners[one.key], one, models, guarded[one.key][0], groups).into(found)
    found.problems = {key: told for key in found.problems if (told := _told(found.problems[key], key in found.served))}
    return found


def _told(problems: Sequence[Problem], served: bool) -> tuple[Problem, ...]:
    """The few to show of *problems*; a component that is not there for one app is none where another one has it."""
    absent = [problem for problem in problems if problem.code == ABSENT]
    others = [problem for problem in problems if problem.code != ABSENT]
    return (*(absent[:1] if not served else ()), *others[:SHOWN])


def declaration(deployment: Deployment) -> AppDeclaration:
    """What the app of the newest revision that gets traffic said of itself."""
    serving = {backend.revision for backend in deployment.backends if backend.weight}
    newest = next((state for state in reversed(deployment.known) if state.key in serving), None)
    return (newest.declared if newest is not None else None) or AppDeclaration()


class _App:
    """One app: what is asked for it, and what comes of that."""

    def __init__(
        self,
        app: App,
        deployment: Deployment,
        models: Models,
        policies: ResiliencyModel,
        groups: dict[tuple[Key, str, str], Key],
    ) -> None:
        self.app, self.deployment, self.models, self.policies = app, deployment, models, policies
        self.groups = groups
        """(bus, subject, group) -> the subscription that has it: of two the second goes its own way."""
        self.found: dict[Key, Subscription] = {}
        self.complaints: list[Complaint] = []
        self.problems: dict[Key, list[Problem]] = {}
        self.served: dict[Key, list[Key]] = {}

    def into(self, found: Subscribed) -> None:
        function = self.app.key
        self._topics()
        for asked in stored(self.deployment):
            self._add(_Ask(asked=asked, programmatic=True))
        for component, source in self._bindings():
            found.sources[component] = (*found.sources.get(component, ()), source)
        if self.found:
            found.subscriptions[function] = tuple(self.found.values())
        if self.complaints:
            found.complaints[function] = tuple(dict.fromkeys(self.complaints))
        for key, problems in self.problems.items():
            found.problems[key] = (*found.problems.get(key, ()), *problems)
        for key, made in self.served.items():
            found.served[key] = (*found.served.get(key, ()), *made)

    def _topics(self) -> None:
        taken: dict[tuple[str, str], _Ask] = {}
        for ask in self._asks():
            where = (ask.asked.pubsub, ask.asked.topic)
            first = taken.setdefault(where, ask)
            if first is ask and not ask.made:
                self._add(ask)
            elif first is not ask and ask.resource is not None and not first.programmatic:
                by = f"Subscription {first.resource.name}" if first.resource else f"function {self.app.key.name} itself"
                message = f"app {self.app.id} is subscribed to topic {where[1]} of {where[0]} by {by}"
                self._refuse(ask, Problem(code="Conflict", path="spec.topic", message=message))

    def _asks(self) -> Iterator[_Ask]:
        """In the order in which they count."""
        for asked in declaration(self.deployment).subscriptions:
            yield _Ask(asked=asked, programmatic=True)
        for one in self.deployment.model.subscriptions:
            yield _Ask(asked=AppSubscription(pubsub=one.bus.name, topic=one.subject), made=True)
        for trigger in self.deployment.model.triggers:
            if trigger.topic:
                yield _Ask(asked=AppSubscription(pubsub=trigger.component, topic=trigger.topic, path="/"))
        for key, model in sorted(self.models.declared.items()):
            if key.namespace == self.app.key.namespace and self._is_for(model.scopes):
                yield _Ask(asked=model.subscription, resource=key)

    def _is_for(self, scopes: Sequence[str]) -> bool:
        """Without scopes it is for all programs that are Dapr apps; handlers of ours know nothing of its paths."""
        if not scopes:
            return self.app.protocol != "evoke"
        return any(is_named(scope, self.app) for scope in scopes)

    def _add(self, ask: _Ask) -> None:
        asked = ask.asked
        where, missing = place(self.models, self.app, asked.pubsub)
        if missing:
            self._complain(ask, ABSENT, missing)
        if where is None:
            return
        wrong = denied(where.metadata, asked.topic, names(self.app), "subscription") or defect(where, asked.topic)
        if wrong:
            self._complain(ask, "TopicDenied", wrong)
            return
        if not (asked.stream or asked.path or asked.rules or self.app.protocol == "grpc"):
            self._complain(ask, "NoRoute", f"topic {asked.topic} of {asked.pubsub} is subscribed to without a route")
            return
        if asked.dead_letter == asked.topic:
            self._complain(ask, "TopicDenied", f"topic {asked.topic} is its own dead letter topic: it is not used so")
            asked = msgspec.structs.replace(asked, dead_letter="")
        made = msgspec.structs.replace(self._subscription(asked, where), programmatic=ask.programmatic)
        self.found[made.key] = made
        if ask.resource is not None:
            self.served.setdefault(ask.resource, []).append(made.key)

    def _subscription(self, asked: AppSubscription, where: Place) -> Subscription:
        function = self.app.key
        key = keys.streamed if asked.stream else keys.own
        named = key(function, asked.pubsub, asked.topic)
        raw = any(name.lower() == "rawpayload" and text.lower() in _TRUE for name, text in asked.metadata.items())
        base = resiliency.delivery(self.policies, where.name, where.type, self.deployment.model.delivery)
        dead = where.prefix + asked.dead_letter if asked.dead_letter else base.dead_letter
        return delivered(
            Subscription(
                key=named,
                bus=where.bus,
                subject=where.prefix + asked.topic,
                group=self._group(named, where, asked),
                trigger=function.name,
                path=self._path(asked.path),
                rules=tuple(msgspec.structs.replace(rule, path=self._path(rule.path)) for rule in asked.rules),
                unmatched=bool(asked.rules) and not asked.path,
                form="stream" if asked.stream else "raw" if raw else "event",
                metadata=dict(sorted(asked.metadata.items())),
                delivery=msgspec.structs.replace(base, dead_letter=dead),
                bulk=self._together(asked),
                bulk_subscribe=asked.bulk > 0,
                bulk_wait=asked.bulk_wait,
            ),
            self.deployment.backends,
        )

    def _together(self, asked: AppSubscription) -> int:
        """Events that an app takes at once: in a batch, or on a stream."""
        if asked.stream:
            return self.deployment.model.workload.concurrency or CREDIT
        return min(asked.bulk, 10_000) or 100

    def _path(self, path: str) -> str:
        """A gRPC app knows a subscription by any text, an HTTP one by a path."""
        if self.app.protocol == "grpc":
            return path
        return path if path.startswith("/") else f"/{path}"

    def _group(self, key: Key, where: Place, asked: AppSubscription) -> str:
        """Dapr's consumer group; on an EventBus the subscription's own name, as for triggers of a Function."""
        if where.component is None:
            return key.name
        text = asked.metadata.get("consumerGroup") or asked.metadata.get("consumerID") or where.group
        group = templates.resolve(text, component=where.bus, app_id=self.app.id) if text else self.app.id
        group += ".stream" if asked.stream else ""
        owner = self.groups.setdefault((where.bus, where.prefix + asked.topic, group), key)
        return group if owner == key else f"{group}.{self.app.id}"

    def _bindings(self) -> Iterator[tuple[Key, Source]]:
        declared = declaration(self.deployment).bindings
        triggers = {one.component: one for one in self.deployment.model.triggers if not one.topic}
        seen: set[str] = set()
        for model in self.models.visible(self.app.key):
            component = model.component
            if not component.type.startswith("bindings.") or component.name in seen:
                continue
            if not permits(component, self.app):
                continue
            seen.add(component.name)
            type_ = registry.find(component.type, component.version)
            source = type_.source if type_ is not None else None
            if (source is None and not model.problems) or not (
                component.name in triggers or takes(component, declared)
            ):
                continue
            subscription = delivered(bound(self.app, component, self._policy(component)), self.deployment.backends)
            self.found[subscription.key] = subscription
            if source is not None and not model.problems:
                triggers.pop(component.name, None)
                yield component.key, source(component, self.app.key, subscription.subject)
        for trigger in triggers.values():
            self._absent(trigger)

    def _policy(self, component: Component) -> DeliveryPolicy:
        return resiliency.delivery(self.policies, component.name, component.type, self.deployment.model.delivery)

    def _absent(self, trigger: ComponentTrigger) -> None:
        known = self.models.components.get(Key(self.app.key.namespace, trigger.component))
        message = f"component {trigger.component} is not in this namespace, or not for app {self.app.id}"
        if known is not None and known.problems:
            message = f"component {trigger.component} does not hold; its condition says why"
        elif known is not None and permits(known.component, self.app):
            message = f"component {trigger.component} ({known.component.type}) brings no events"
        self.complaints.append(Complaint(ABSENT, message))

    def _complain(self, ask: _Ask, reason: str, message: str) -> None:
        if ask.resource is None:
            self.complaints.append(Complaint(reason, message))
        else:
            self._refuse(ask, Problem(code=reason, path="spec", message=f"app {self.app.id}: {message}"))

    def _refuse(self, ask: _Ask, problem: Problem) -> None:
        if ask.resource is not None:
            self.problems.setdefault(ask.resource, []).append(problem)
