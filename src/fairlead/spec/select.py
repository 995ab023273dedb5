"""Which services run, and with which variables: profiles, named services, `env_file`, `label_file`.

Called by the loader on the typed tree. What no selected service uses is left out of the result, as Compose does.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlead.spec.environment import read_env_file
from fairlead.spec.report import Report, unknown_service
from fairlead.spec.tree import Map, place

Typed = dict[str, dict[str, dict[str, Any]]]


def disabled_services(services: Mapping[str, Mapping[str, Any]], profiles: Sequence[str]) -> list[str]:
    """The services that none of ``profiles`` starts; ``*`` starts all, a service without profiles always runs."""
    if "*" in profiles:
        return []
    return [
        name
        for name, service in services.items()
        if service.get("profiles") and not set(service["profiles"]) & set(profiles)
    ]


def read_files_of(
    service: dict[str, Any], name: str, environment: Mapping[str, str], model: Map, report: Report
) -> None:
    """Put the variables of `env_file` below `environment`, the labels of `label_file` below `labels`."""
    source = model["services"].get(name) or Map()
    variables: dict[str, str] = {}
    for entry in source.get("env_file") or ():
        file, required = str(entry.get("path", "")), entry.get("required", True)
        if not _exists(file, required in (True, "true"), ("services", name, "env_file"), model, report):
            continue
        if entry.get("format") not in (None, "", "raw"):
            at = place(model, ("services", name, "env_file"))
            report.problem(f"unknown format {entry['format']!r}", at, ("services", name, "env_file"), "remove 'format'")
        variables |= read_env_file(
            file, ChainMap(variables, dict(environment)).get, report, raw=entry.get("format") == "raw"
        )
    own = {
        key: environment.get(key) if value is None else value for key, value in service.get("environment", {}).items()
    }
    if merged := variables | own:
        service["environment"] = dict(sorted(merged.items()))
    labels: dict[str, str] = {}
    for file in source.get("label_file") or ():
        if _exists(file, True, ("services", name, "label_file"), model, report):
            labels |= read_env_file(file, labels.get, report)
    if labels := labels | service.get("labels", {}):
        service["labels"] = dict(sorted(labels.items()))


def _exists(file: str, required: bool, path: tuple[str, ...], model: Map, report: Report) -> bool:
    found = Path(file).exists()
    if not found and required:
        fix = "create it, or make it optional: {path: …, required: false}"
        report.problem(f"the file {file} does not exist", place(model, path), path, fix)
    return found


def with_dependencies(project: str, names: Iterable[str], services: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """``names``, services of ``project``, and all that they depend on."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        if name not in services:
            raise unknown_service(project, name, services)
        found.add(name)
        left.extend(target for target in services[name].get("depends_on", {}) if target in services)
    return found


def used_resources(typed: Typed, services: Mapping[str, Mapping[str, Any]]) -> Typed:
    """The networks, volumes, secrets, configs and models that ``services`` use."""
    used: dict[str, set[str]] = {kind: set() for kind in ("networks", "volumes", "secrets", "configs", "models")}
    for service in services.values():
        used["networks"].update(service.get("networks", ()))
        used["volumes"].update(m.get("source", "") for m in service.get("volumes", ()) if m.get("type") == "volume")
        build = service.get("build") or {}
        used["secrets"].update(
            use.get("source", "") for use in [*service.get("secrets", ()), *build.get("secrets", ())]
        )
        used["configs"].update(use.get("source", "") for use in service.get("configs", ()))
        used["models"].update(service.get("models", ()))
    return {kind: {name: entry for name, entry in typed[kind].items() if name in names} for kind, names in used.items()}
