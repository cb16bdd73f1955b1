"""Where a subscription starts that has no progress yet, when the bus says more than ``all`` or ``new``.

Bus option ``start``: ``all``, ``new``, ``last`` (the newest stored event and what follows), ``sequence:N``,
``time:SECONDS`` (since 1970) and ``ago:SECONDS``. A subscription that asks for all has all.
"""

from __future__ import annotations

from datetime import UTC, datetime

from eventbus.jetstream.api import JetStream


async def floor(js: JetStream, stream: str, start: str, now: float) -> int:
    """The sequence behind which *start* begins; *now* in Unix seconds."""
    state = (await js.stream_info(stream)).state
    oldest, newest = max(state.first_seq - 1, 0), state.last_seq
    what, _, number = start.partition(":")
    if what == "all":
        return oldest
    if what == "last":
        return max(newest - 1, oldest)
    if what == "sequence":
        return min(max(int(number) - 1, oldest), newest)
    if what in {"time", "ago"}:
        moment = float(number) if what == "time" else now - float(number)
        return newest if moment >= now else min(await _first_at(js, stream, moment) - 1, newest)
    return newest


async def _first_at(js: JetStream, stream: str, moment: float) -> int:
    """The first sequence stored at *moment* or later: a consumer that starts there knows it."""
    name = f"start-{js.connection.inbox().rpartition('.')[2]}"
    info = await js.create_consumer(
        stream,
        {
            "name": name,
            "deliver_policy": "by_start_time",
            "opt_start_time": datetime.fromtimestamp(moment, UTC).isoformat(),
            "ack_policy": "none",
            "inactive_threshold": 5_000_000_000,
            "mem_storage": True,
        },
    )
    await js.delete_consumer(stream, name)
    return info.delivered.stream_seq + 1
