"""Replicas of a real zygote: checked, started, kept at their number, drained, adopted."""

import asyncio
import contextlib
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from api.errors import NotFound
from api.meta import RevisionKey
from api.model import Bundle, Resources, Workload
from api.scaling import ScalePolicy
from controller.local.app_ports import AppPorts
from controller.local.apps import Apps
from controller.local.environments import Environment
from controller.local.fleet import Fleet
from controller.local.forks import Launch
from controller.local.replicas import Replicas
from controller.local.revisions import Revisions
from controller.local.sqlite import connect
from controller.local.starts import Crashes
from functions_framework.zygote_wire import Descriptor
from tests.local.conftest import alive, kill

BASE = Environment("sha256:base", Path(sys.prefix))
GOOD = "import functions_framework as ff\n@ff.cloud_event\nasync def f(event): ...\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = RevisionKey("default", "f", "00001")


class Agents:
    """A control server without a socket: remembers endpoints, answers Close as told."""

    def __init__(self):
        self.endpoints_of, self.closes, self.accept = {}, [], True

    def endpoints(self, revision, endpoints):
        self.endpoints_of[revision] = tuple(endpoints)

    async def close(self, revision, replicas, last, timeout=2.0):  # noqa: ASYNC109 # the real one's signature
        self.closes.append((tuple(replicas), last))
        return self.accept


class Bench:
    """One fleet over a real zygote; until() waits for a fact by the fleet's own signals."""

    def __init__(self, paths, code):
        self.source = paths.state / "source"
        self.source.mkdir(exist_ok=True)
        (self.source / "main.py").write_text(code)
        self.db = connect(paths.database)
        self.agents = Agents()
        self.revisions = Revisions(self.db)
        self._changed = asyncio.Event()
        self.fleet = Fleet(self.revisions, self.agents, self._launch, self._changed.set)
        self.apps = Apps(AppPorts(self.db, seed=str(paths.run)), lambda _: "")
        self.replicas = self.fleet.replicas = Replicas(paths, BASE.digest, self.fleet, self.apps)

    async def __aenter__(self):
        self.replicas.zygotes.start()
        await self.replicas.zygotes.found()
        await self.replicas.adopted()
        return self

    async def __aexit__(self, *_):
        await self.fleet.stop()
        await self.apps.aclose()
        await self.replicas.zygotes.stop()
        self.db.close()

    def ensure(self, key=KEY, **fields):
        fields = {"resources": Resources(memory=0), "grace": timedelta(seconds=5), **fields}
        workload = Workload(key=key, artifact=Bundle(code="c", runtime=BASE.digest, source=str(self.source)), **fields)
        self.revisions.ensure(workload, ScalePolicy(), now=NOW)
        self.fleet.converge(key)

    async def until(self, fact, within=15.0):
        async with asyncio.timeout(within):
            while not fact():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def _launch(self, workload):
        return Launch(workload=workload, source=self.source, environment=BASE, env={"EVOKE_LOG": "json"})

    @property
    def ready(self):
        return self.replicas.of(KEY, "ready")

    @property
    def record(self):
        return self.revisions.get(KEY)


def test_a_revision_is_checked_then_started_then_told(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            assert bench.replicas.all() == []
            bench.fleet.set_wanted(KEY, 2)
            await bench.until(lambda: len(bench.ready) == 2)
            endpoints = bench.agents.endpoints_of[KEY]
            return bench.record.descriptor, endpoints, {one.id for one in bench.ready}

    descriptor, endpoints, ids = asyncio.run(go())
    assert descriptor.handlers == ["f (cloud_event, async)"]
    assert {one.replica for one in endpoints} == ids
    assert all(one.address.startswith("unix:") and one.credit == descriptor.concurrency for one in endpoints)


def test_code_that_does_not_load_names_file_and_line(paths, zygote):
    async def go():
        async with Bench(paths, "import functions_framework as ff\n\nimport nowhere_to_be_found\n") as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.problem)
            return bench.record

    record = asyncio.run(go())
    assert record.problem == "HandlerError"
    assert "E180" in record.message
    assert "main.py:3" in record.message
    assert "nowhere_to_be_found" in record.message


def test_an_import_that_hangs_ends_at_the_start_timeout(paths, zygote):
    async def go():
        async with Bench(paths, "import time\ntime.sleep(600)\n") as bench:
            bench.ensure(start_timeout=timedelta(seconds=0.3))
            await bench.until(lambda: bench.record.problem)
            return bench.record

    assert asyncio.run(go()).problem == "StartTimeout"


def test_a_replica_that_keeps_dying_is_backed_off_and_says_why(paths, zygote):
    dies = GOOD + "import os, threading\nif os.environ.get('POD_NAME', '').startswith('f-'): os.kill(os.getpid(), 9)\n"

    async def go():
        async with Bench(paths, dies) as bench:
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.record.problem)
            return bench.record, bench.ready

    record, ready = asyncio.run(go())
    assert (record.problem, ready) == ("CrashLoop", [])
    assert "SIGKILL" in record.message


def test_a_killed_replica_is_replaced(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.ready)
            first = bench.ready[0]
            kill(first.pid)
            await bench.until(lambda: bench.ready and bench.ready[0] is not first)
            return first, bench.agents.endpoints_of[KEY], bench.ready[0]

    first, endpoints, second = asyncio.run(go())
    assert first.exit == -signal.SIGKILL
    assert [one.replica for one in endpoints] == [second.id]


def test_the_last_replica_goes_only_when_every_agent_agrees(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.ready)
            bench.agents.accept = False
            bench.fleet.set_wanted(KEY, 0, [bench.ready[0].id])
            await bench.until(lambda: bench.agents.closes and bench.ready)
            refused = (bench.record.wanted, len(bench.ready))
            bench.agents.accept = True
            bench.fleet.set_wanted(KEY, 0, [bench.ready[0].id])
            await bench.until(lambda: not bench.replicas.all())
            await bench.until(lambda: bench.agents.endpoints_of[KEY] == ())
            return refused, bench.agents.closes

    refused, closes = asyncio.run(go())
    assert refused == (1, 1)
    assert [last for _, last in closes] == [True, True]


def test_a_removed_revision_drains_and_is_forgotten(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.ready)
            pid = bench.ready[0].pid
            bench.fleet.remove(KEY)
            await bench.until(lambda: bench.record is None)
            return pid, list(paths.replicas.iterdir())

    pid, left = asyncio.run(go())
    assert not alive(pid)
    assert left == []


def test_a_new_controller_adopts_what_runs_and_ends_what_nobody_knows(paths, zygote):
    stranger = RevisionKey("default", "gone", "00001")

    async def first():
        async with Bench(paths, GOOD) as bench:
            for key in (KEY, stranger):
                bench.ensure(key)
                bench.fleet.set_wanted(key, 1)
            await bench.until(lambda: len(bench.replicas.of(KEY, "ready") + bench.replicas.of(stranger, "ready")) == 2)
            bench.revisions.remove(stranger)
            return bench.ready[0], bench.replicas.of(stranger)[0].pid

    async def second():
        async with Bench(paths, GOOD) as bench:
            bench.fleet.converge(KEY)
            await bench.until(lambda: not alive(stray))
            return bench.ready, bench.agents.endpoints_of

    before, stray = asyncio.run(first())
    found, endpoints = asyncio.run(second())

    assert [(one.id, one.pid) for one in found] == [(before.id, before.pid)]
    assert found[0].descriptor == before.descriptor
    assert [one.replica for one in endpoints[KEY]] == [before.id]


def test_replicas_die_with_their_zygote_and_come_back_with_the_next(paths, start_zygote):
    async def go():
        first = start_zygote()
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.ready)
            before = bench.ready[0]
            first.kill()
            start_zygote()
            await bench.until(lambda: bench.ready and bench.ready[0] is not before)
            return before.pid

    assert not alive(asyncio.run(go()))


def test_what_was_held_back_is_tried_at_once_when_a_secret_comes(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            launch, bench.fleet._launch = bench.fleet._launch, refuse
            bench.ensure()
            await bench.until(lambda: bench.record.problem == "SecretNotFound")
            bench.fleet._pace(KEY).crashes = Crashes(9, time.monotonic() + 3600)
            bench.fleet._launch = launch
            bench.fleet.retry()
            await bench.until(lambda: bench.record.descriptor)
            return bench.record.problem

    async def refuse(_workload):
        raise NotFound("secret s has no key k")

    assert asyncio.run(go()) == ""


def test_records_survive_a_restart(paths):
    db = connect(paths.database)
    workload = Workload(key=KEY, artifact=Bundle(code="c", runtime="r", source="/nowhere"))
    made = Revisions(db).ensure(workload, ScalePolicy(min=2), now=NOW)
    db.close()

    db = connect(paths.database)
    assert Revisions(db).get(KEY) == made
    assert Revisions(db).states()[0].digest == workload.revision_digest()
    assert msgspec.structs.replace(made, wanted=3) == Revisions(db).change(KEY, wanted=3)
    db.close()


def test_no_function_is_blamed_for_the_end_of_its_zygote_or_of_the_platform(paths, start_zygote):
    async def go():
        first = start_zygote()
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 3)
            await bench.until(lambda: len(bench.ready) == 3)
            before = {one.id for one in bench.ready}
            first.kill()
            second = start_zygote()
            await bench.until(lambda: len(bench.ready) == 3 and not before & {one.id for one in bench.ready})
            problems = [bench.record.problem]
            ready = bench.ready
            await bench.fleet.stop()
            for replica in ready:
                kill(replica.pid)
            await bench.until(lambda: not bench.replicas.all())
            second.kill()
            return [*problems, bench.record.problem]

    assert asyncio.run(go()) == ["", ""]


def test_a_restart_forgets_crashes_and_keeps_what_does_not_load(paths):
    db = connect(paths.database)
    workload = Workload(key=KEY, artifact=Bundle(code="c", runtime="r", source="/nowhere"))
    revisions = Revisions(db)
    revisions.ensure(workload, ScalePolicy(), now=NOW)
    revisions.change(KEY, wanted=4, problem="HandlerError", message="main.py:3")
    revisions.restarted(KEY, wanted=0)
    assert (revisions.get(KEY).wanted, revisions.get(KEY).problem) == (0, "HandlerError")

    revisions.change(KEY, descriptor=Descriptor(handlers=["f"]), problem="CrashLoop", message="signal 9")
    revisions.restarted(KEY, wanted=0)
    assert (revisions.get(KEY).problem, revisions.get(KEY).message) == ("", "")
    db.close()


def test_a_replica_that_is_stuck_is_replaced_at_once_and_is_no_crash(paths, zygote):
    async def go():
        async with Bench(paths, GOOD) as bench:
            bench.ensure()
            bench.fleet.set_wanted(KEY, 2)
            await bench.until(lambda: len(bench.ready) == 2)
            stuck, other = bench.ready
            asked = await bench.fleet.kill([stuck.id, "nobody"], "Timeout")
            again = await bench.fleet.kill([stuck.id], "Timeout")
            await bench.until(lambda: stuck.gone.is_set() and len(bench.ready) == 2)
            crashes = bench.fleet._pace(KEY).crashes
            return stuck, other in bench.ready, asked, again, crashes, bench.record.problem

    stuck, stays, asked, again, crashes, problem = asyncio.run(go())
    assert (stuck.exit, stays) == (-signal.SIGKILL, True)
    assert (asked, again) == ([stuck], [])
    assert (crashes, problem) == (Crashes(), "")


def test_what_starts_is_told_before_it_is_ready_and_taken_back_when_it_fails(paths, zygote):
    code = GOOD + "import os\nif os.path.exists('broken') and 'POD_NAME' in os.environ: os._exit(5)\n"

    async def go():
        async with Bench(paths, code) as bench:
            told = []
            tell = bench.agents.endpoints

            def listen(key, found):
                told.append([one.phase for one in bench.replicas.of(KEY) if one.id in {each.replica for each in found}])
                tell(key, found)

            bench.agents.endpoints = listen
            bench.ensure()
            await bench.until(lambda: bench.record.descriptor)
            bench.fleet.set_wanted(KEY, 1)
            await bench.until(lambda: bench.ready)
            (bench.source / "broken").touch()
            kill(bench.ready[0].pid)
            await bench.until(lambda: bench.record.problem)
            return told, bench.agents.endpoints_of[KEY]

    told, last = asyncio.run(go())
    assert told[:2] == [["starting"], ["ready"]]
    assert [phases for phases in told[2:] if phases] == []  # after a crash nothing is promised
    assert last == ()
