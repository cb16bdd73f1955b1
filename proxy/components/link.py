"""One declared component and what lives of it here: opened in the background, tried again for ever, opened anew beside
itself when its secrets change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from api.errors import EvokeError
from api.frames import ComponentReading
from api.meta import SecretKeyRef
from api.model import Component, Option
from proxy.components.declaration import Declared
from proxy.components.protocols import ComponentError, ComponentFailed, Instance
from proxy.components.surroundings import Surroundings

log = logging.getLogger(__name__)

OPEN_WITHIN = 5.0
"""Seconds to open, where initTimeout is none; Dapr's default."""
RETRY = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries to open; the last one repeats."""
LOOK_EVERY = 10.0
"""Seconds between two looks at the secrets in use."""
PROBE_EVERY = 1.0
"""Seconds between two looks at one that is in trouble."""
LEAVE_AFTER = 10.0
"""Seconds for which calls in flight may still use what was replaced."""

Resolve = Callable[[Component, Option], Awaitable[str]]
"""The text of one metadata value; raises EvokeError or LookupError."""


class Link:
    def __init__(self, component: Component, declared: Declared, around: Surroundings, resolve: Resolve) -> None:
        self.component, self.declared = component, declared
        self._around, self._resolve = around, resolve
        self._within = component.init_timeout.total_seconds() or OPEN_WITHIN
        self._instance: Any = None
        self._metadata: Any = None
        self._error: EvokeError | None = None
        self._settled = asyncio.Event()
        """Opened, or failed once."""
        self._look = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._used: dict[str, str] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"component {component.key}")

    @property
    def failed(self) -> ComponentFailed | None:
        """Why it cannot be used now; None: it can, or is about to."""
        if self._instance is not None or not self._settled.is_set():
            return None
        return ComponentFailed(str(self._error or "not opened yet"), reason=_reason(self._error))

    @property
    def metadata(self) -> Any:
        """As read; only once it was opened."""
        return self._metadata

    @property
    def reading(self) -> ComponentReading:
        error = self._error if self._instance is None else getattr(self._instance, "trouble", None)
        if self._instance is not None and error is None:
            return ComponentReading(component=self.component.key, connected=True)
        message = str(error) if error is not None else "not opened yet"
        return ComponentReading(component=self.component.key, reason=_reason(error), message=message)

    async def instance(self) -> Any:
        """What lives; waits for the first opening as long as the component may take. Raises ComponentFailed."""
        if self._instance is None and not self._settled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within):
                    await self._settled.wait()
        if self._instance is None:
            raise self.failed or ComponentFailed(f"component {self.component.key} is not opened yet")
        return self._instance

    def rotate(self) -> None:
        """Look at the secrets now."""
        self._look.set()

    async def close(self) -> None:
        self._task.cancel()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(self._task, *self._leaving, return_exceptions=True)
        if self._instance is not None:
            await self._instance.close()
            self._instance = None

    async def _run(self) -> None:
        tried = 0
        while True:
            try:
                instance = await self._open()
            except (EvokeError, LookupError, ValueError, OSError, TimeoutError) as error:
                self._tell(error)
                await self._pause(RETRY[min(tried, len(RETRY) - 1)])
                tried += 1
            else:
                tried = 0
                self._replace(instance)
                await self._changed()

    async def _open(self) -> Instance:
        options = await self._options()
        metadata = self.declared.metadata.read(options)
        assert self.declared.open is not None
        resolved = msgspec.structs.replace(self.component, metadata=dict(options))
        made: Instance = self.declared.open(resolved, metadata, self._around)
        try:
            async with asyncio.timeout(self._within):
                detail = await made.open()
        except TimeoutError:
            await made.close()
            raise ComponentFailed(f"it did not open within {self._within:g} s", hint="see spec.initTimeout") from None
        except BaseException:
            await made.close()
            raise
        log.info("component %s (%s): %s", self.component.key, self.declared.type, detail)
        self._used, self._metadata = options, metadata
        return made

    async def _options(self) -> dict[str, str]:
        component = self.component
        return {name: await self._resolve(component, option) for name, option in component.metadata.items()}

    def _tell(self, error: Exception) -> None:
        told = error if isinstance(error, EvokeError) else ComponentFailed(str(error), reason=_reason(error))
        if str(told) != str(self._error):
            log.warning("component %s: %s", self.component.key, told)
        self._error = told
        self._settled.set()

    def _replace(self, instance: Instance) -> None:
        old, self._instance = self._instance, instance
        self._error = None
        self._settled.set()
        if old is not None:
            task = asyncio.get_running_loop().create_task(self._leave(old))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    @staticmethod
    async def _leave(old: Instance) -> None:
        try:
            await asyncio.sleep(LEAVE_AFTER)
        finally:
            await old.close()

    async def _changed(self) -> None:
        """Return once a secret is another than the one in use, and can be read. Meanwhile an instance that is in
        trouble is probed, so that its reading says when that is over."""
        secret = any(isinstance(option, SecretKeyRef) for option in self.component.metadata.values())
        probe = getattr(self._instance, "probe", None)
        if not secret and probe is None:
            await asyncio.Event().wait()
        next_look = asyncio.get_running_loop().time() + LOOK_EVERY
        while True:
            asked = await self._pause(PROBE_EVERY if probe is not None else LOOK_EVERY)
            if probe is not None and self._instance.trouble is not None:
                with contextlib.suppress(ComponentError):
                    await probe()
            now = asyncio.get_running_loop().time()
            if secret and (asked or now >= next_look):
                next_look = now + LOOK_EVERY
                if await self._rotated():
                    return

    async def _rotated(self) -> bool:
        try:
            if await self._options() != self._used:
                log.info("secrets of component %s have changed: it opens anew", self.component.key)
                return True
        except (EvokeError, LookupError, OSError) as error:
            log.info("component %s keeps the secrets it has: %s", self.component.key, error)
        return False

    async def _pause(self, seconds: float) -> bool:
        """Whether a look was asked for meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._look.wait()
        asked = self._look.is_set()
        self._look.clear()
        return asked


def _reason(error: Exception | None) -> str:
    """A reason of condition Connected."""
    given = getattr(error, "reason", "")
    if given:
        return str(given)
    return "SecretNotFound" if isinstance(error, LookupError) or type(error).__name__ == "NotFound" else "Unreachable"
