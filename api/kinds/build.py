"""How a Function is built (core.openfunction.io/v1beta2)."""

from __future__ import annotations

from typing import Literal

from api.kinds.fields import (
    Count,
    Duration,
    LocalObjectReference,
    Name,
    Wire,
)


class StrategyRef(Wire, frozen=True, kw_only=True):
    """A Shipwright build strategy."""

    name: Name
    """Its name."""
    kind: Literal["BuildStrategy", "ClusterBuildStrategy"] | None = None
    """Its kind; ClusterBuildStrategy where it is not given."""


class ObjectKey(Wire, frozen=True, kw_only=True):
    """One key of a Secret or ConfigMap."""

    name: Name
    """Its name."""
    key: str
    """Key in its data."""
    format: str | None = None
    """How the value is put in, with ``${SECRET_VALUE}`` or ``${CONFIGMAP_VALUE}``."""


class SingleValue(Wire, frozen=True, kw_only=True):
    """A value as written or from elsewhere; exactly one."""

    value: str | None = None
    """The value."""
    config_map_value: ObjectKey | None = None
    """From a ConfigMap."""
    secret_value: ObjectKey | None = None
    """From a Secret."""


class StrategyParam(SingleValue, frozen=True, kw_only=True):
    """A parameter of the strategy."""

    name: str
    """Its name."""
    values: tuple[SingleValue, ...] = ()
    """Its values, where it is a list."""


class Shipwright(Wire, frozen=True, kw_only=True):
    """The Shipwright engine."""

    strategy: StrategyRef | None = None
    """The strategy."""
    params: tuple[StrategyParam, ...] = ()
    """Its parameters."""
    timeout: Duration | None = None
    """Limit of a build run."""


class BundleContainer(Wire, frozen=True, kw_only=True):
    """An image that holds source code."""

    image: str
    """The image."""


class SourceRepository(Wire, frozen=True, kw_only=True):
    """Where the source code stands."""

    url: str | None = None
    """Git URL, or a folder relative to the YAML; empty without bundleContainer: the YAML's own folder."""
    bundle_container: BundleContainer | None = None
    """An image that holds the source."""
    revision: str | None = None
    """Git branch, tag or commit."""
    source_sub_path: str | None = None
    """Folder within the source; absolute for an image."""
    credentials: LocalObjectReference | None = None
    """Secret for reading it."""


class BuildBody(Wire, frozen=True, kw_only=True):
    """How the source becomes something that runs."""

    builder: str | None = None
    """Builder image; empty: a bundle, which needs no image."""
    builder_credentials: LocalObjectReference | None = None
    """Secret for pulling the builder image."""
    shipwright: Shipwright | None = None
    """The Shipwright engine."""
    env: dict[str, str] = {}
    """Environment of the build; FUNC_NAME names the handler."""
    src_repo: SourceRepository | None = None
    """Where the source code stands."""
    dockerfile: str | None = None
    """Path of a Dockerfile."""
    timeout: Duration | None = None
    """Limit of the whole build."""
    successful_builds_history_limit: Count | None = None
    """Builders kept after success; 0 where it is not given."""
    failed_builds_history_limit: Count | None = None
    """Builders kept after failure; 1 where it is not given."""
    builder_max_age: Duration | None = None
    """Age at which finished Builders are removed; 0: never."""
