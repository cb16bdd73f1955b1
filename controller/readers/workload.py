"""The part of a Function that makes a replica: environment, limits, handler."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from api import quantities
from api.kinds.openfunction import FunctionSpec, ServingBody
from api.kinds.pod import FUNCTION_CONTAINER, Container, EnvVar, PodTemplate
from api.meta import SecretKeyRef
from api.model import Env, Resources
from controller.readers.scale import plain

GRACE = timedelta(seconds=30)
_HANDLER_VARIABLES = ("FUNC_NAME", "FUNCTION_TARGET", "GOOGLE_FUNCTION_TARGET")
_DEFAULT = Resources()


def read_target(spec: FunctionSpec, serving: ServingBody) -> str:
    """The handler: serving.handler, else the variable of upstream's builders, else FUNCTION_TARGET in params."""
    named = (spec.build.env if spec.build else {}, serving.params)
    found = (variables[name] for variables in named for name in _HANDLER_VARIABLES if variables.get(name))
    return serving.handler or next(found, "")


def read_env(serving: ServingBody) -> tuple[Env, ...]:
    """Environment by name: the template's container first, params over it."""
    found = {env.name: env for variable in own_container(serving).env if (env := _variable(variable))}
    found |= {name: Env(name, value) for name, value in serving.params.items()}
    for name, given in serving.params_from.items():
        found[name] = Env(name, SecretKeyRef(name=given.secret_ref.name, key=given.secret_ref.key))
    return tuple(found[name] for name in sorted(found))


def read_resources(serving: ServingBody) -> Resources:
    """Limits: those of serving.resources, else of the template's container, else the default."""
    limits = dict(own.limits) if (own := own_container(serving).resources) else {}
    limits |= serving.resources.limits if serving.resources else {}
    return Resources(
        cpu_milli=max(quantities.milli(limits["cpu"]), 1) if "cpu" in limits else _DEFAULT.cpu_milli,
        memory=quantities.whole(limits["memory"]) if "memory" in limits else _DEFAULT.memory,
        pids=quantities.whole(limits["pids"]) if "pids" in limits else _DEFAULT.pids,
        scratch=quantities.whole(limits["ephemeral-storage"]) if "ephemeral-storage" in limits else _DEFAULT.scratch,
    )


def read_grace(serving: ServingBody) -> timedelta:
    seconds = serving.template.termination_grace_period_seconds if serving.template else None
    return GRACE if seconds is None else timedelta(seconds=seconds)


def read_pod(template: PodTemplate | None) -> bytes | None:
    """The template as deterministic JSON, without what is empty."""
    if template is None or not (content := plain(template)):
        return None
    return msgspec.json.encode(content, order="deterministic")


def own_container(serving: ServingBody) -> Container:
    """The template's container of the function; an empty one where there is none."""
    containers = serving.template.containers if serving.template else ()
    empty = Container(name=FUNCTION_CONTAINER)
    return next((container for container in containers if container.name == FUNCTION_CONTAINER), empty)


def _variable(given: EnvVar) -> Env | None:
    if given.value_from is None:
        return Env(given.name, given.value or "")
    secret = given.value_from.secret_key_ref
    return Env(given.name, SecretKeyRef(name=secret.name, key=secret.key)) if secret else None
