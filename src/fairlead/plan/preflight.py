"""Which keys of the file the chosen engine would not honour, each with the place where it stands.

Called by the controller before a plan is made and by `fairlead plan` for its table. Pure: a project and an
engine's capabilities in, findings out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from fairlead.capabilities import EngineCapabilities, KeySupport, Support
from fairlead.plan.hopeless import hopeless_probes
from fairlead.plan.sharing import Clash, Published, clashes
from fairlead.plan.unheeded import unheeded, unpublished
from fairlead.spec.model import Deploy, Mark, Project, Resources, Service
from fairlead.spec.ports import PROTOCOLS

_INDEX = re.compile(r"\[\d+\]")
_FILE_KEYS = {
    "stop_grace_period_s": "stop_grace_period",
    "options": "x-fairlead",
    "update": "update_config",
    "rollback": "rollback_config",
    "memory_bytes": "memory",
}
_IN_RESOURCES = ("limits", "reservations")

REPLICAS_MOST = 1000
"""Of one service. A controller of one machine would be busy with more of them for so long that it answers nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One key of one service and what becomes of it. ``line`` 0: the file does not say where it stands."""

    service: str
    key: str
    support: Support
    reason: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{where}services.{self.service}.{self.key}: {self.support}{reason}"


def preflight(project: Project, capabilities: EngineCapabilities, strict: bool = False) -> tuple[Finding, ...]:
    """What ``project`` sets and the engine does not honour, sorted by file and line.

    With ``strict`` what would be ignored is refused too.
    """
    return tuple(
        _strict(finding) if strict else finding
        for finding in table(project, capabilities)
        if finding.support is not Support.HONOURED
    )


def table(project: Project, capabilities: EngineCapabilities) -> tuple[Finding, ...]:
    """Every key that ``project`` sets and how it is treated, sorted by file and line."""
    found: dict[tuple[str, str], Finding] = {}
    for name, service in sorted(project.services.items()):
        for key in sorted(_keys(project, service)):
            entry, treatment = _treatment(capabilities, key, _value(service, key))
            mark = _mark(project, name, entry)
            found.setdefault((name, entry), _finding(name, entry, treatment, mark))
        if not capabilities.runs_images and not (service.command or service.entrypoint):
            reason = f"the {capabilities.name} engine runs no image: give the service a `command`"
            treatment = KeySupport(support=Support.REFUSED, reason=reason)
            key = "image" if service.image else "command"
            found[name, key] = _finding(name, key, treatment, _mark(project, name, key))
        if service.replicas > REPLICAS_MOST:
            key = "scale" if service.deploy.replicas is None else "deploy.replicas"
            reason = f"a service can have at most {REPLICAS_MOST} replicas"
            treatment = KeySupport(support=Support.REFUSED, reason=reason)
            found[name, key] = _finding(name, key, treatment, _mark(project, name, key))
    for lost in (*unheeded(project), *(() if capabilities.publishes_udp else unpublished(project))):
        treatment = KeySupport(support=Support.IGNORED, reason=lost.reason)
        found[lost.service, lost.key] = _finding(lost.service, lost.key, treatment, lost.mark)
    for probe in () if capabilities.isolates_network else hopeless_probes(project):
        treatment = KeySupport(support=Support.REFUSED, reason=probe.reason)
        found[probe.service, probe.key] = _finding(probe.service, probe.key, treatment, probe.mark)
    for finding in _unknown_protocols(project):
        found[finding.service, "ports"] = finding
    for clash in clashes(project):
        found[clash.later.service.name, "ports"] = _refused_port(project, clash)
    return tuple(sorted(found.values(), key=lambda item: (item.file, item.line, item.column, item.service, item.key)))


def _unknown_protocols(project: Project) -> Iterator[Finding]:
    """The long form of a port takes every word for a protocol, as Compose does; no engine does."""
    for name, service in sorted(project.services.items()):
        for index, port in enumerate(service.ports):
            if port.protocol not in PROTOCOLS:
                reason = f"{port.protocol!r} is none of the protocols {', '.join(PROTOCOLS)}"
                treatment = KeySupport(support=Support.REFUSED, reason=reason)
                yield _finding(name, "ports", treatment, _port_mark(project, Published(service=service, index=index)))


def _strict(finding: Finding) -> Finding:
    return Finding(
        service=finding.service,
        key=finding.key,
        support=Support.REFUSED,
        reason=finding.reason,
        file=finding.file,
        line=finding.line,
        column=finding.column,
    )


def _finding(service: str, key: str, treatment: KeySupport, mark: Mark | None) -> Finding:
    return Finding(
        service=service,
        key=key,
        support=treatment.support,
        reason=treatment.reason,
        file=mark.file if mark else "",
        line=mark.line if mark else 0,
        column=mark.column if mark else 0,
    )


def _refused_port(project: Project, clash: Clash) -> Finding:
    mark, other = _port_mark(project, clash.later), _port_mark(project, clash.earlier)
    near = mark is not None and other is not None and mark.file == other.file
    place = "" if other is None else f" (line {other.line})" if near else f" ({other.file}:{other.line})"
    has = f"{clash.later.port.published} is published by {clash.earlier.service.name} too{place}: {clash.fix}"
    treatment = KeySupport(support=Support.REFUSED, reason=has)
    return _finding(clash.later.service.name, "ports", treatment, mark)


def _port_mark(project: Project, published: Published) -> Mark | None:
    """The entry itself where the list has one for each port, which a range does not."""
    path = f"services.{published.service.name}.ports"
    entries = [f"{path}[{index}]" for index in range(len(published.service.ports))]
    if all(entry in project.marks for entry in entries):
        return project.marks[entries[published.index]]
    return _mark(project, published.service.name, "ports")


def _treatment(capabilities: EngineCapabilities, key: str, value: Any) -> tuple[str, KeySupport]:
    """The entry of the engine's table that decides on ``key``, and what it says."""
    treatment = capabilities.treatment(key)
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    special = [capabilities.keys.get(f"{key}={item}") for item in values]
    if special and all(special):
        worst = next((each for each in special if each and each.support is not Support.HONOURED), special[0])
        return key, worst or treatment
    entry = key
    while entry and entry not in capabilities.keys:
        entry = entry.rpartition(".")[0]
    return entry or key.partition(".")[0], treatment


def _keys(project: Project, service: Service) -> set[str]:
    """The dotted keys that the file sets, below the service: by its marks, else by what is not a default."""
    prefix = f"services.{service.name}."
    marked = {_INDEX.sub("", path[len(prefix) :]) for path in project.marks if path.startswith(prefix)}
    # A service whose name begins with another's and a dot (`api` and `api.v2`) has marks below both prefixes.
    others = [name[len(service.name) + 1 :] for name in project.services if name.startswith(f"{service.name}.")]
    marked = {key for key in marked if not any(key == other or key.startswith(f"{other}.") for other in others)}
    keys = marked or set(_set_fields(service))
    if set(service.networks) == {"default"} and not service.networks["default"]:
        # What every service without `networks` has: the file need not have said it, and it asks for nothing.
        keys -= {"networks", "networks.default"}
    known = {key for key in keys if key and not (key.startswith("x-") and not key.startswith("x-fairlead"))}
    # `deploy` says nothing by itself: what stands below it does.
    return {key for key in known if not any(other.startswith(f"{key}.") for other in known)}


def _set_fields(service: Service) -> Iterator[str]:
    for name in _changed(service):
        if name in ("name", "extra"):
            continue
        if name == "deploy":
            yield from _deploy_keys(service.deploy)
        else:
            yield _FILE_KEYS.get(name, name)
    yield from service.extra


def _deploy_keys(deploy: Deploy) -> Iterator[str]:
    for name in _changed(deploy):
        if name in _IN_RESOURCES:
            resources = getattr(deploy, name)
            if isinstance(resources, Resources):
                yield from (f"deploy.resources.{name}.{_FILE_KEYS.get(key, key)}" for key in _changed(resources))
        else:
            yield f"deploy.{_FILE_KEYS.get(name, name)}"


def _changed(value: Any) -> Iterator[str]:
    """The fields of a dataclass that differ from their defaults."""
    for each in fields(value):
        default = each.default
        if default is MISSING and each.default_factory is not MISSING:
            default = each.default_factory()
        if default is MISSING or getattr(value, each.name) != default:
            yield each.name


def _value(service: Service, key: str) -> Any:
    """The value of ``key`` in the typed service, None where it has no single one."""
    first, _, rest = key.partition(".")
    value = getattr(service, first) if first in Service.__dataclass_fields__ else service.extra.get(first)
    for part in rest.split(".") if rest else ():
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
    return value


def _mark(project: Project, service: str, key: str) -> Mark | None:
    """Where ``key`` stands, or the nearest thing above it that has a mark."""
    path = f"services.{service}.{key}"
    while path:
        if path in project.marks:
            return project.marks[path]
        below = [other for other in project.marks if other.startswith((f"{path}.", f"{path}["))]
        if below and path.count(".") > 1:
            return project.marks[min(below)]
        path = path.rpartition(".")[0]
    return None
