"""The pod template."""

from __future__ import annotations

from collections.abc import Iterator

from api.consistency import choices
from api.kinds.pod import Container, PodTemplate
from api.structure import Fault
from api.tree import Path


def template(pod: PodTemplate, path: Path) -> Iterator[Fault]:
    containers = [("containers", pod.containers), ("initContainers", pod.init_containers)]
    for name, group in containers:
        yield from choices.duplicates([container.name for container in group], (*path, name), "this container")
        for index, container in enumerate(group):
            yield from _container(container, (*path, name, index))
    yield from choices.duplicates([volume.name for volume in pod.volumes], (*path, "volumes"), "this volume")
    for index, volume in enumerate(pod.volumes):
        sources = ("secret", "configMap", "emptyDir", "persistentVolumeClaim")
        yield from choices.at_most_one(volume, sources, (*path, "volumes", index))


def _container(container: Container, path: Path) -> Iterator[Fault]:
    yield from choices.duplicates([variable.name for variable in container.env], (*path, "env"), "this variable")
    for index, variable in enumerate(container.env):
        where = (*path, "env", index)
        yield from choices.at_most_one(variable, ("value", "valueFrom"), where)
        if variable.value_from is not None:
            sources = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef")
            yield from choices.exactly_one(variable.value_from, sources, (*where, "valueFrom"), complete=True)
