"""What a project's networks and volumes are called on the daemon: exactly as Compose calls them.

Called by everything of this package that names one, so that a project can be handed from Compose to Fairlead
and back with its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Resources = Mapping[str, Mapping[str, Mapping[str, Any]]]

DEFAULT_NETWORK = "default"


def network_name(project: str, key: str, resources: Resources) -> str:
    return _name(project, key, resources.get("networks", {}).get(key))


def volume_name(project: str, key: str, resources: Resources) -> str:
    return _name(project, key, resources.get("volumes", {}).get(key))


def is_external(definition: Mapping[str, Any] | None) -> bool:
    """True for what the file says exists already (``external: true``, or the old ``external: {name: …}``)."""
    return bool((definition or {}).get("external"))


def _name(project: str, key: str, definition: Mapping[str, Any] | None) -> str:
    definition = definition or {}
    if name := definition.get("name"):
        return str(name)
    external = definition.get("external")
    if isinstance(external, Mapping):
        return str(external.get("name", key))
    return key if external else f"{project}_{key}"
