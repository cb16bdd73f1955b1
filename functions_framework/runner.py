"""Run a handler over events: in order within a key, side by side over keys, up to its concurrency and the deadline.

Asynchronous handlers run as one task for each key lane in use, plain ones in one executor hop for each lane, so that an
event costs neither a task nor a hop. An entry that is left without outcome was not started.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
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
        self._executor = executor
        self._arguments = arguments
        self._root = root

    async def run(self, calls: Sequence[Invocation], places: int) -> list[Outcome | None]:
        """Run the handler for *calls*, using *places* that the caller took; they are given back here."""
        run = _Run(calls, lanes(calls))
        deadline = min((c.deadline for c in calls if c.deadline is not None), default=None)
        left = None if deadline is None else max(0.0, deadline - time.time())
        if self.handler.kind is Kind.BATCH:
            work: Callable[[_Run], Any] = self._batches_async if self.handler.is_async else self._batches_thread
            await self._together(run, [(work, places)], left)
        else:
            work = self._lane_async if self.handler.is_async else self._lane_thread
            await self._together(run, [(work, 1)] * places, left)
        return run.outcomes

    async def _together(self, run: _Run, works: list[tuple[Callable[[_Run], Any], int]], left: float | None) -> None:
        """Run all workers; after *left* seconds cancel what can be, and report the rest."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Future[None]] = []
        for work, places in works:
            if self.handler.is_async:
                task: asyncio.Future[None] = loop.create_task(work(run))
            else:
                task = loop.run_in_executor(self._executor(), work, run)
            task.add_done_callback(lambda _done, places=places: self.slots.give(places))  # type: ignore[misc]  # mypy cannot type a lambda's default
            tasks.append(task)
        _, pending = await asyncio.wait(tasks, timeout=left)
        if pending:
            run.stop()
            cancelled = self.handler.is_async
            if cancelled:
                for task in pending:
                    task.cancel()
                _, stubborn = await asyncio.wait(pending, timeout=CANCEL_PATIENCE)
                cancelled = not stubborn
            for index in run.started:
                if run.outcomes[index] is None:
                    run.outcomes[index] = timed_out(cancelled=cancelled)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception() or AssertionError

    async def _lane_async(self, run: _Run) -> None:
        function, arguments, outcomes = self.handler.function, self._arguments, run.outcomes
        while run.lanes and not run.stopped():
            for index in run.lanes.popleft():
                if run.stopped():
                    return
                call = run.calls[index]
                running.set(call)
                run.started.append(index)
                outcome = await self._settle(function(*arguments(call)))
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

    async def _settle(self, coroutine: Coroutine[Any, Any, Any]) -> Outcome:
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


class _Run:
    """The state of one delivery, shared by its workers; each index is written by one of them."""

    __slots__ = ("_stopped", "calls", "failed", "lanes", "outcomes", "started")

    def __init__(self, calls: Sequence[Invocation], lanes: deque[list[int]]) -> None:
        self.calls = calls
        self.lanes = lanes
        self.outcomes: list[Outcome | None] = [None] * len(calls)
        self.started: list[int] = []
        self.failed: set[str] = set()
        """Keys of which an event failed: the rest of them is not started."""
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
