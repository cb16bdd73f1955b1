"""The substrate of one machine: builds are folders and environments, replicas are processes forked from zygotes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from api.actions import (
    Action,
    CancelBuild,
    Ensure,
    HandOver,
    Kill,
    Observed,
    Publish,
    Remove,
    SetReplicas,
    StartBuild,
)
from api.errors import NotFound
from api.meta import Key, RevisionKey
from api.model import App, BuildSource, Bundle, Directory, Route, Snapshot, Subscription, Workload
from api.platform import Platform
from builder import requirements
from controller.errors import NotHere
from controller.local import logs, tokens
from controller.local.app_facts import Binding, bindings
from controller.local.app_listeners import Listeners
from controller.local.app_ports import AppPorts
from controller.local.apps import Apps
from controller.local.builds import Builds
from controller.local.environments import Environment, Environments
from controller.local.feed import Feed
from controller.local.fleet import Fleet
from controller.local.forks import Launch, Running
from controller.local.paths import Paths
from controller.local.questions import Questions
from controller.local.replicas import Replicas
from controller.local.revisions import Revisions, bundle_of
from controller.local.secrets import Secrets
from controller.local.surroundings import Place, of_handler, of_program
from controller.local.trees import Trees
from replicas.server import ControlServer

CAPABILITIES = frozenset({"processes", "folders"})
"""What this substrate honours beyond what every one does."""


PUBLISHED = 2.0
"""Seconds for which the first start of an app waits for the snapshot that names it."""


class ColdStarts(msgspec.Struct, frozen=True):
    """Starts of a function's replica while no other one served."""

    count: int = 0
    last_ms: float | None = None


class LocalSubstrate:
    """See controller.substrate.Substrate."""

    def __init__(
        self,
        paths: Paths,
        platform: Platform,
        revisions: Revisions,
        control: ControlServer,
        feed: Feed,
        ports: AppPorts,
    ) -> None:
        self._paths, self._platform, self._revisions = paths, platform, revisions
        self._control, self._feed = control, feed
        self._subscribers: list[Callable[[], None]] = []
        self._snapshots: dict[str, Snapshot] = {}
        self.cold_starts: dict[Key, ColdStarts] = {}
        """Of every function that was started since this process began."""
        self.environments = Environments()
        self.secrets = Secrets(paths.secrets, self._secret_changed)
        self.trees = Trees(self._changed)
        self.builds = Builds(paths, self.environments, self.trees, self._changed)
        self.fleet = Fleet(revisions, control, self._launch, self._changed, self._announce, self._bindings)
        self.apps = Apps(ports, self._token)
        self.replicas = Replicas(paths, self.environments.digest(), self.fleet, self.apps)
        self.fleet.replicas = self.replicas
        self.listeners = Listeners(ports, control)
        self._questions = Questions(revisions, self.fleet, self._launch, self._bindings)
        self._published = asyncio.Event()

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call *changed* whenever an observation would differ."""
        self._subscribers.append(changed)

    async def start(self) -> None:
        """Find the replicas that an earlier controller left running; the base zygote must answer."""
        self.replicas.zygotes.start()
        await self.replicas.zygotes.found()
        await self.replicas.adopted()
        for record in self._revisions.all():
            running = len(self.replicas.of(record.key, "ready"))
            self._revisions.restarted(record.key, wanted=max(running, record.scale.min))  # more when work asks for it
            self.fleet.converge(record.key)

    async def stop(self) -> None:
        """Stop builds and let every replica finish; the agents must be gone or idle by now."""
        await self.builds.stop()
        grace = max((record.workload.grace for record in self._revisions.all()), default=None)
        await self._questions.stop()
        await self.fleet.stop(grace)
        await self.apps.aclose()
        await self.replicas.zygotes.stop()

    async def observe(self, sources: Sequence[tuple[Key, BuildSource]] | None = None) -> Observed:
        """What is now."""
        folders = None if sources is None else {one.path for _, one in sources if isinstance(one, Directory)}
        return Observed(
            revisions=self._revisions.states(),
            builds=self.builds.states(),
            trees={} if folders is None else await self.trees.digests(folders),
            replicas=self.replicas.observed(),
            capabilities=CAPABILITIES,
            snapshots={namespace: snapshot.digest for namespace, snapshot in self._snapshots.items()},
            url=f"http://{self._platform.http}",
        )

    async def execute(self, action: Action) -> None:
        """Carry out one action."""
        match action:
            case StartBuild():
                self.builds.start(action)
            case CancelBuild(key=key, reason=reason):
                self.builds.cancel(key, reason)
            case Ensure(workload=workload, scale=scale):
                self._revisions.ensure(workload, scale, now=datetime.now(UTC))
                self.fleet.converge(workload.key)
            case SetReplicas(revision=revision, replicas=count, drain=drain, because=because):
                self._scale(revision, count, drain, because)
            case Kill(replicas=replicas, reason=reason):
                await self._kill(replicas, reason)
            case Remove(revision=revision):
                self.fleet.remove(revision)
            case Publish(snapshot=snapshot):
                self._snapshots[snapshot.namespace] = snapshot
                self._control.publish(snapshot)
                self._published.set()
                self._published = asyncio.Event()
                self._questions.ask()
            case HandOver():
                raise NotHere("replica counts of processes are set by Evoke alone", hint="remove the foreign scaler")

    def settle(self, homes: Mapping[Key, str]) -> None:
        """Each function has its listeners and its proxy where *homes* says."""
        programs = {one.key.function_key for one in self._revisions.all() if one.workload.host == "command"}
        self.apps.ports.keep(programs)
        self.listeners.settle(homes, programs)

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        """What was published last, by namespace."""
        return self._snapshots

    async def collect_garbage(self) -> None:
        """Remove bundles and stop zygotes that no revision uses any more; cut logs that are too long."""
        logs.trim(self._paths.state / "logs" / "functions")
        used = [bundle_of(record) for record in self._revisions.all() if isinstance(record.workload.artifact, Bundle)]
        codes = {bundle.code.removeprefix("sha256:") for bundle in used}
        for folder in self._paths.bundles.iterdir():
            if folder.name not in codes and not folder.name.startswith(".") and not self.builds.running:
                shutil.rmtree(folder, ignore_errors=True)
        await self.replicas.zygotes.retire(frozenset(bundle.runtime for bundle in used))

    def _scale(self, revision: RevisionKey, count: int, drain: Collection[str], because: str) -> None:
        record = self._revisions.get(revision)
        if record is None:
            raise NotFound(f"revision {revision} is not there")
        if record.wanted != count and self._serves(revision):
            self._feed.post(
                revision.function_key,
                "scaled",
                f"{record.wanted} -> {count}  {because}",
                data={"from": record.wanted, "to": count, "because": because, "revision": revision.revision},
            )
        self.fleet.set_wanted(revision, count, drain)

    async def _kill(self, replicas: Collection[str], reason: str) -> None:
        for replica in await self.fleet.kill(replicas, reason):
            self._feed.post(
                replica.revision.function_key,
                "problem",
                f"replica {replica.id} is replaced: {reason}",
                data={"replica": replica.id, "revision": replica.revision.revision, "reason": reason},
            )

    def _serves(self, revision: RevisionKey) -> bool:
        """Whether work goes there; that an old revision gives its replicas up is nobody's news."""
        snapshot = self._snapshots.get(revision.namespace)
        holders: list[Route | Subscription] = [*snapshot.routes, *snapshot.subscriptions] if snapshot else []
        return any(backend.revision == revision for holder in holders for backend in holder.backends)

    async def _launch(self, workload: Workload) -> Launch:
        """All that one start of *workload* needs, secrets read now."""
        record = self._revisions.get(workload.key)
        if record is None:
            raise NotFound(f"revision {workload.key} is not there")
        bundle = bundle_of(record)
        environment = self.environments.find(bundle.runtime)
        if environment is None:  # somebody emptied the cache
            framework = workload.host != "command"
            wanted = requirements.read(Path(bundle.source), framework=framework)
            environment = await self.environments.ensure(wanted, framework=framework)
        env, described = await self._env(workload, environment), record.descriptor
        awaited = True if self._awaited(workload.key.function_key) else None
        return Launch(
            workload=workload,
            source=Path(bundle.source),
            environment=environment,
            env=env,
            listens=bool(described.concurrency) if described is not None else awaited,
        )

    async def _env(self, workload: Workload, environment: Environment) -> dict[str, str]:
        function, program = workload.key.function_key, workload.host == "command"
        own = {env.name: self.secrets.resolve(function.namespace, env.value) for env in workload.env}
        place = Place(
            platform=self._platform,
            socket=self._paths.socket(self.listeners.socket(function)),
            app=await self._named(function) if program else App(key=function, id=function.name),
            listener=self.listeners.of(function) if program else None,
        )
        if program:
            return of_program(workload, own, place, environment, os.environ.get("PATH", os.defpath))
        return of_handler(workload, own, place)

    async def _named(self, function: Key) -> App:
        """The app of *function*, in whose first moments the snapshot is on its way."""
        try:
            async with asyncio.timeout(PUBLISHED):
                while (found := self.app(function)) is None:
                    await self._published.wait()
        except TimeoutError:
            return App(key=function, id=function.name)
        return found

    def _awaited(self, function: Key) -> bool:
        """Whether requests or events are to be sent to *function*, as far as is declared."""
        snapshot = self._snapshots.get(function.namespace)
        if snapshot is None:
            return False
        routed = any(route.key == function and not route.internal for route in snapshot.routes)
        return routed or any(one.trigger == function.name and one.form != "stream" for one in snapshot.subscriptions)

    def app(self, function: Key) -> App | None:
        """How the Dapr API knows *function*; None: it was not published yet."""
        snapshot = self._snapshots.get(function.namespace)
        return next((app for app in snapshot.apps if app.key == function), None) if snapshot else None

    def _bindings(self, workload: Workload) -> tuple[Binding, ...]:
        function = workload.key.function_key
        app, snapshot = self.app(function), self._snapshots.get(function.namespace)
        return bindings(snapshot.components, app) if snapshot is not None and app is not None else ()

    def _secret_changed(self, secret: Key) -> None:
        """What could not start tries again, and no replica keeps a token that its callers have no more."""
        self.fleet.retry()
        tokens.renew(secret, self._revisions, self.fleet)

    def _token(self, workload: Workload) -> str:
        return self.secrets.resolve(workload.key.namespace, tokens.of(workload))

    def _announce(self, replica: Running) -> None:
        if not replica.start_ms:
            return  # adopted: nobody waited for it
        function = replica.revision.function_key
        serving = [one for one in self.replicas.all() if one.revision.function_key == function and one.phase == "ready"]
        if serving == [replica]:
            count = self.cold_starts.get(function, ColdStarts()).count + 1
            self.cold_starts[function] = ColdStarts(count, round(replica.start_ms, 1))
        living = frozenset(one.id for one in self.replicas.table())
        logs.prune(self._paths.function_logs(replica.revision.function_key), living)
        self._feed.post(
            replica.revision.function_key,
            "activation",
            f"ready in {replica.start_ms:.0f} ms",
            data={
                "replica": replica.id,
                "cold_start_ms": round(replica.start_ms, 1),
                "revision": replica.revision.revision,
            },
        )

    def _changed(self) -> None:
        for changed in self._subscribers:
            changed()
