"""Where one local platform keeps what: STATE outlives it, RUN is gone after a reboot."""

from __future__ import annotations

from pathlib import Path

import msgspec

from api.meta import Key, RevisionKey
from api.platform import run_directory
from controller.local.processes import private_directory


class Paths(msgspec.Struct, frozen=True):
    """Names of files and folders; making them is :func:`prepare`."""

    state: Path
    run: Path

    @property
    def database(self) -> Path:
        """Resources and revision records."""
        return self.state / "state.db"

    @property
    def bundles(self) -> Path:
        """Code trees by digest."""
        return self.state / "bundles"

    @property
    def secrets(self) -> Path:
        """``<namespace>/<name>/<key>``."""
        return self.state / "secrets"

    @property
    def replicas(self) -> Path:
        """Sockets of replicas, each with a note of what it runs."""
        return self.run / "r"

    def socket(self, name: str) -> Path:
        """``controller``, ``control``, ``zygote``, ``plane-0``, ``dapr``, ``z-<environment>``."""
        return self.run / f"{name}.sock"

    def log(self, process: str) -> Path:
        """Log of a platform process."""
        return self.state / "logs" / f"{process}.log"

    def function_logs(self, function: Key) -> Path:
        """A folder per revision, in it a file per replica."""
        return self.state / "logs" / "functions" / function.namespace / function.name

    def replica_log(self, revision: RevisionKey, replica: str) -> Path:
        """JSON lines of one replica."""
        return self.function_logs(revision.function_key) / revision.revision / f"{replica}.log"

    def build_log(self, function: Key) -> Path:
        """What the installer of the latest build said."""
        return self.state / "logs" / "builds" / function.namespace / f"{function.name}.log"


def prepare(state: Path) -> Paths:
    """Make STATE and RUN with owner-only access."""
    state = state.absolute()
    private_directory(state)
    run = run_directory(state)
    private_directory(run.parent)
    private_directory(run)
    paths = Paths(state, run)
    private_directory(paths.replicas)
    for folder in (paths.bundles, paths.secrets, state / "snapshots", state / "logs" / "functions", state / "nats"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    here = state / "run"
    here.unlink(missing_ok=True)
    here.symlink_to(run)
    return paths
