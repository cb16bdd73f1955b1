"""From the metadata of a component to the options of a bus or a source, secrets left as references; pure."""

from __future__ import annotations

from collections.abc import Mapping

from api.model import Component, Option


def given(component: Component) -> dict[str, Option]:
    """What is set, by lower-case name."""
    return {name.lower(): option for name, option in component.metadata.items() if option != ""}


def renamed(component: Component, names: Mapping[str, str]) -> dict[str, Option]:
    """Option -> value, of every name of *names* (metadata name -> option) that is set."""
    known = given(component)
    return {option: known[name.lower()] for name, option in names.items() if name.lower() in known}


def text(component: Component, name: str, default: str = "") -> str:
    """A value as written; what stands in a secret is not known here, and counts as the default."""
    value = given(component).get(name.lower(), default)
    return value.strip() if isinstance(value, str) else default


def truth(component: Component, name: str, *, default: bool = False) -> bool:
    """A switch."""
    return text(component, name, str(default)).lower() in {"y", "yes", "true", "t", "on", "1"}
