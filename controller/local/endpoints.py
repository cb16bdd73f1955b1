"""Which replicas agents are told of, and what is needed of the control server to tell them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from api.frames import Endpoint
from api.meta import RevisionKey
from api.model import Workload
from controller.local.forks import Running


class Control(Protocol):
    """What is needed of replicas.server.ControlServer."""

    def endpoints(self, revision: RevisionKey, endpoints: Collection[Endpoint]) -> None: ...

    async def close(
        self,
        revision: RevisionKey,
        replicas: Collection[str],
        last: bool,
        timeout: float = 2.0,  # noqa: ASYNC109 - the real one's signature
    ) -> bool: ...


def endpoint(replica: Running, address: str | None, workload: Workload | None) -> Endpoint | None:
    """How work reaches *replica*; None: it takes none now."""
    described = replica.descriptor
    if described is None or address is None or replica.gone.is_set() or replica.unwell:
        return None
    return Endpoint(
        replica=replica.id,
        address=address,
        credit=described.concurrency,
        batch=described.batch,
        ordered=described.ordered,
        protocol=workload.protocol if replica.program and workload is not None else "evoke",
    )
