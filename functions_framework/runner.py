"""Run a handler over events: in order within a key, side by side over keys, up to its concurrency and the deadline.

Asynchronous handlers run as one task for each key lane in use, plain ones in one executor hop for each lane, so that an
event costs neither a task nor a hop. An entry that is left without outcome was not started.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from functions_framework import logs
from functions_framework.handler import Handler, Kind
from functions_framework.invocation import Invocation, running
from functions_framework.replies import Outcome, of_exception, of_value, timed_out
from functions_framework.slots import Slots

CANCEL_PATIENCE = 1.0
"""Seconds in which a cancelled handler has to end, before it is reported as still running."""

log = logging.getLogger("functions_framework")

Arguments = Callable[[Invocation], tuple[Any, ...]]
"""Turns the call of one event into the arguments of the handler."""


class Runner:
    """Runs one handler."""

    def __init__(self, handler: Handler, executor: Callable[[], Executor], arguments: Arguments, root: str) -> None:
        self.handler = handler
        self.slots = Slots(handler.concurrency)
        self.overdue: set[asyncio.Future[None]] = set()
        """Workers that are past the deadline of their delivery and still run."""
        self._is_async = handler.is_async
        self._executor = executor
        self._arguments = arguments
        self._root = root

    async def run(self, calls: Sequence[Invocation], places: int) -> list[Outcome | None]:
        """Run the handler for *calls*, using *places* that the caller took; they are given back here."""
        run = _Run(calls, lanes(calls))
        left = min((left for call in calls if (left := call.left) is not None), default=None)
        if self.handler.kind is Kind.BATCH:
            self._start(run, self._batches_async if self._is_async else self._batches_thread, places)
        elif self._is_async:
            run.spare = places
            self._grow(run)
        else:
            workers = min(places, len(run.lanes))
            self._start(run, self._lane_thread, places - workers + 1)
            for _ in range(workers - 1):
                self._start(run, self._lane_thread, 1)
        await self._finish(run, left)
        return run.outcomes

    def _start(self, run: _Run, work: Callable[[_Run], Any], places: int) -> None:
        """Start one worker; its places become free when it ends, however late that is."""
        loop = asyncio.get_running_loop()
        task: asyncio.Future[None] = (
            loop.create_task(work(run)) if self._is_async else loop.run_in_executor(self._executor(), work, run)
        )
        task.add_done_callback(lambda _done: self.slots.give(places))
        run.tasks.append(task)

    def _grow(self, run: _Run) -> None:
        """Start one more asynchronous worker if there is work and room for it."""
        if run.spare and run.lanes and not run.stopped():
            run.spare -= 1
            self._start(run, self._lane_async, 1)

    async def _finish(self, run: _Run, left: float | None) -> None:
        """Wait for all workers; after *left* seconds cancel what can be, and report the rest."""
        loop = asyncio.get_running_loop()
        end = None if left is None else loop.time() + left
        while pending := [task for task in run.tasks if not task.done()]:
            done, _ = await asyncio.wait(pending, timeout=None if end is None else max(0.0, end - loop.time()))
            if not done and end is not None and loop.time() >= end:
                await self._expire(run, pending)
                break
        self.slots.give(run.spare)
        for task in run.tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _expire(self, run: _Run, pending: Sequence[asyncio.Future[None]]) -> None:
        """Cancel asynchronous workers; threads run on. What had started gets an outcome that says which."""
        run.stop()
        stubborn: set[asyncio.Future[None]] = set(pending)
        self.overdue |= stubborn
        for task in pending:
            task.add_done_callback(self.overdue.discard)
        if self._is_async:
            for task in pending:
                task.cancel()
            _, stubborn = await asyncio.wait(pending, timeout=CANCEL_PATIENCE)
        for index in run.started:
            if run.outcomes[index] is None:
                run.outcomes[index] = timed_out(cancelled=not stubborn)

    async def _lane_async(self, run: _Run) -> None:
        """Run lanes; a handler that has to wait lets another worker begin, one that need not costs no task."""
        function, arguments, outcomes = self.handler.function, self._arguments, run.outcomes
        while run.lanes and not run.stopped():
            for index in run.lanes.popleft():
                if run.stopped():
                    return
                call = run.calls[index]
                running.set(call)
                run.started.append(index)
                try:
                    coroutine = function(*arguments(call))
                    first = coroutine.send(None)
                except StopIteration as returned:
                    outcome = of_value(returned.value, self._root)
                except (Exception, asyncio.CancelledError) as error:  # user code: whatever it raises is the outcome
                    outcome = self._failed(error)
                else:
                    self._grow(run)
                    outcome = await self._settle(_Rest(coroutine, first))
                logs.end_of_call()
                outcomes[index] = outcomes[index] or outcome
                if not outcome.ok:
                    break

    def _lane_thread(self, run: _Run) -> None:
        outcomes = run.outcomes
        while not run.stopped():
            try:
                lane = run.lanes.popleft()
            except IndexError:
                return
            for index in lane:
                if run.stopped():
                    return
                run.started.append(index)
                outcome = self._call(run.calls[index], self._arguments(run.calls[index]))
                outcomes[index] = outcomes[index] or outcome
                if not outcome.ok:
                    break

    async def _batches_async(self, run: _Run) -> None:
        for chunk in chunks(run, self.handler.max_size):
            call = run.calls[chunk[0]]
            running.set(call)
            run.started.extend(chunk)
            outcome = await self._settle(self.handler.function(*self._batch_arguments(run, chunk)))
            logs.end_of_call()
            self._spread(run, chunk, outcome)

    def _batches_thread(self, run: _Run) -> None:
        for chunk in chunks(run, self.handler.max_size):
            run.started.extend(chunk)
            outcome = self._call(run.calls[chunk[0]], self._batch_arguments(run, chunk))
            self._spread(run, chunk, outcome)

    def _batch_arguments(self, run: _Run, chunk: list[int]) -> tuple[Any, ...]:
        events = [run.calls[index].event for index in chunk]
        return (events, *self._arguments(run.calls[chunk[0]])[1:])

    def _spread(self, run: _Run, chunk: list[int], outcome: Outcome) -> None:
        """Give each event of a call its own outcome."""
        each: list[Outcome] = [outcome] * len(chunk)
        if outcome.ok and isinstance(outcome.value, list):
            if len(outcome.value) == len(chunk):
                each = [of_value(value, self._root) for value in outcome.value]
            else:
                said = f"returned {len(outcome.value)} results for {len(chunk)} events"
                each = [of_exception(ValueError(said), self._root)] * len(chunk)
        elif outcome.ok and outcome.value is not None:
            said = f"a batch handler returns None or a list of results, got {type(outcome.value).__name__}"
            each = [of_exception(TypeError(said), self._root)] * len(chunk)
        for index, own in zip(chunk, each, strict=True):
            run.outcomes[index] = run.outcomes[index] or own
            if not own.ok and run.calls[index].event is not None:
                run.failed.add(key_of(run.calls[index]))
        run.failed.discard("")

    async def _settle(self, coroutine: Awaitable[Any]) -> Outcome:
        try:
            return of_value(await coroutine, self._root)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(error)
        except Exception as error:  # user code: whatever it raises is the outcome
            return self._failed(error)

    def _call(self, call: Invocation, arguments: tuple[Any, ...]) -> Outcome:
        running.set(call)
        try:
            return of_value(self.handler.function(*arguments), self._root)
        except BaseException as error:  # user code in a thread: even sys.exit is its outcome
            return self._failed(error)
        finally:
            logs.end_of_call()
            running.set(None)

    def _failed(self, error: BaseException) -> Outcome:
        outcome = of_exception(error, self._root)
        if outcome.error is not None:
            log.error("%s: %s", type(error).__name__, error, exc_info=error)
        return outcome


class _Rest:
    """What is left of a coroutine after its first step, as PEP 342 and 492 say a task drives it."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        """Hand on what the coroutine waits for, and to it what comes back."""
        awaited = self._first
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # a cancellation: the coroutine's to take
                step: Callable[[], Any] = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)
            try:
                awaited = step()
            except StopIteration as returned:
                return returned.value


class _Run:
    """The state of one delivery, shared by its workers; each index is written by one of them."""

    __slots__ = ("_stopped", "calls", "failed", "lanes", "outcomes", "spare", "started", "tasks")

    def __init__(self, calls: Sequence[Invocation], lanes: deque[list[int]]) -> None:
        self.calls = calls
        self.lanes = lanes
        self.outcomes: list[Outcome | None] = [None] * len(calls)
        self.started: list[int] = []
        self.failed: set[str] = set()
        """Keys of which an event failed: the rest of them is not started."""
        self.tasks: list[asyncio.Future[None]] = []
        self.spare = 0
        """Places that no worker uses yet."""
        self._stopped = False

    def stop(self) -> None:
        """Let no further event start."""
        self._stopped = True

    def stopped(self) -> bool:
        """Whether the deadline has passed."""
        return self._stopped


def key_of(call: Invocation) -> str:
    """Ordering key of an event, empty without one."""
    return "" if call.event is None else str(call.event.get("partitionkey") or "")


def lanes(calls: Sequence[Invocation]) -> deque[list[int]]:
    """Indexes by key, in order; an event without key is a lane of its own."""
    found: dict[str, list[int]] = {}
    result: deque[list[int]] = deque()
    for index, call in enumerate(calls):
        key = key_of(call)
        if key and key in found:
            found[key].append(index)
        else:
            lane = [index]
            if key:
                found[key] = lane
            result.append(lane)
    return result


def chunks(run: _Run, size: int) -> Any:
    """Yield the indexes of the next call, leaving out keys that failed before."""
    waiting = list(range(len(run.calls)))
    while waiting and not run.stopped():
        waiting = [i for i in waiting if not run.failed or key_of(run.calls[i]) not in run.failed]
        chunk, waiting = waiting[:size], waiting[size:]
        if chunk:
            yield chunk
