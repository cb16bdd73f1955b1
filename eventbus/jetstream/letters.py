"""Dead letters on JetStream: one stream per bus, one subject per letter, so that storing twice is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import msgspec

from api.meta import Key
from eventbus import subjects
from eventbus.bus import DeadLetter
from eventbus.jetstream.api import EXPECT_LAST, NO_MESSAGE, NO_STREAM, WRONG_LAST, ApiError, JetStream

MAX_BYTES = 1 << 30
"""Of all letters of one bus; then the store refuses and the keys of failing events wait."""


class Letters:
    """The letters of one bus."""

    def __init__(self, js: JetStream, bus: Key) -> None:
        self._js, self._bus = js, bus
        self._stream = subjects.letter_stream(bus)

    async def ensure(self) -> None:
        await self._js.ensure_stream({
            "name": self._stream,
            "subjects": [subjects.letters(self._bus)],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_bytes": MAX_BYTES,
            "allow_direct": True,
        })  # fmt: skip

    async def store(self, letter: DeadLetter, stream: str) -> None:
        """Store once: only a subject without a message takes it, and one that has it is a success."""
        subject = subjects.letter(self._bus, letter.subscription, stream, letter.id)
        try:
            await self._js.store(subject, msgspec.json.encode(letter), {EXPECT_LAST: "0"})
        except ApiError as error:
            if error.number != WRONG_LAST:
                raise

    async def each(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        """Oldest first."""
        for _, letter in await self._read(subscription):
            yield letter

    async def _read(self, subscription: Key) -> list[tuple[str, DeadLetter]]:
        info = await self._js.stream_info(self._stream, subjects.letters(self._bus, subscription))
        found = []
        for subject in info.state.subjects:
            stored = await self._js.last(self._stream, subject)
            if stored is not None:
                found.append((stored.seq, subject, msgspec.json.decode(stored.data, type=DeadLetter)))
        return [(subject, letter) for _, subject, letter in sorted(found, key=lambda item: item[0])]

    async def purge(self, subscription: Key, ids: Collection[str] | None) -> int:
        gone = [subject for subject, letter in await self._read(subscription) if ids is None or letter.id in ids]
        for subject in gone:
            await self._js.purge(self._stream, subject=subject)
        return len(gone)

    async def delete(self, letter: DeadLetter, stream: str) -> None:
        subject = subjects.letter(self._bus, letter.subscription, stream, letter.id)
        try:
            await self._js.purge(self._stream, subject=subject)
        except ApiError as error:
            if error.number not in {NO_MESSAGE, NO_STREAM}:
                raise
