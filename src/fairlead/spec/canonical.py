"""Write every short form in its long form, file by file, so that further files merge over one shape.

Called by the loader after each merge. Works in place. What is no valid short form is reported, and removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fairlead.spec.numbers import go_text
from fairlead.spec.ports import PortError, parse_port
from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Path, Position, Seq
from fairlead.spec.volumes import VolumeError, parse_volume

MAX_EXPANDED = 70_000
"""Ports that the ranges of one file may make: all 65,535 of one service, and some."""

Rewrite = Callable[[Any, Path, Position, "Canonical"], Any]


class Canonical:
    """Carries the report, and whether a text that cannot be read is left alone (variables were not substituted)."""

    def __init__(self, report: Report, lenient: bool) -> None:
        self._report, self._lenient = report, lenient
        self._expanded = 0

    def model(self, model: Map) -> None:
        services = model.get("services")
        if isinstance(services, Map):
            for name, service in services.items():
                if isinstance(service, Map):
                    self.keys(service, _SERVICE, ("services", name))
        for kind in ("networks", "volumes", "secrets", "configs"):
            resources = model.get(kind)
            if isinstance(resources, Map):
                for name, resource in resources.items():
                    if isinstance(resource, Map):
                        self._external(resource, (kind, name))

    def keys(self, node: Map, rewrites: dict[str, Rewrite], path: Path) -> None:
        for key in [key for key in rewrites if key in node]:
            value = node[key]
            if isinstance(value, str | Map | Seq):
                node[key] = rewrites[key](value, (*path, key), node.mark(key), self)

    def items(self, value: Any, path: Path, parse: Callable[[Any], list[Any]], fix: str) -> Any:
        """A list with each entry replaced by what ``parse`` makes of it."""
        if not isinstance(value, Seq):
            return value
        made = Seq(value.at)
        for index, (entry, mark) in enumerate(value.entries()):
            try:
                if self._expanded > MAX_EXPANDED:
                    raise PortError(f"the port ranges of the file make more than {MAX_EXPANDED} ports")
                entries = parse(entry)
                self._expanded += len(entries) - 1
                for found in entries:
                    made.add(_marked(found, mark), mark)
            except ValueError as error:
                if self._lenient:
                    made.add(entry, mark)
                else:
                    self._report.problem(str(error), mark, (*path, f"[{index}]"), fix)
        return made

    def fail(self, error: str, at: Position, path: Path, fix: str) -> None:
        if not self._lenient:
            self._report.problem(error, at, path, fix)

    def _external(self, resource: Map, path: Path) -> None:
        external = resource.get("external")
        if not isinstance(external, Map):
            return
        at = resource.mark("external")
        resource.put("external", True, at)
        if "name" not in external:
            return
        self._report.warn(f"{path[0]}.{path[1]}: external.name is deprecated; write 'name' beside 'external: true'")
        if "name" in resource and resource["name"] != external["name"]:
            self._report.problem("'name' and 'external.name' differ", at, (*path, "external"), "keep 'name' alone")
            return
        resource.put("name", external["name"], external.mark("name"))


def canonicalize(model: Map, report: Report, lenient: bool = False) -> None:
    """Rewrite ``model`` in place."""
    Canonical(report, lenient).model(model)


def _marked(value: Any, mark: Position) -> Any:
    if isinstance(value, dict) and not isinstance(value, Map):
        made = Map(mark)
        for key, item in value.items():
            made[key] = _marked(item, mark)
        return made
    return value


def _long(text: str, key: str, **more: Any) -> dict[str, Any]:
    return {key: text, **more}


def _build(value: Any, path: Path, at: Position, canonical: Canonical) -> Any:
    if isinstance(value, str):
        return _marked(_long(value, "context"), at)
    if isinstance(value, Map):
        canonical.keys(value, _BUILD, path)
    return value


def _extends(value: Any, _path: Path, at: Position, _canonical: Canonical) -> Any:
    return _marked(_long(value, "service"), at) if isinstance(value, str) else value


def _depends_on(value: Any, _path: Path, _at: Position, _canonical: Canonical) -> Any:
    if isinstance(value, Seq):
        made = Map(value.at)
        for name, mark in value.entries():
            if isinstance(name, str):
                made.put(name, _marked({"condition": "service_started", "required": True}, mark), mark)
        return made
    for entry in value.values() if isinstance(value, Map) else ():
        if isinstance(entry, Map):
            entry.setdefault("condition", "service_started")
            entry.setdefault("required", True)
    return value


def _env_file(value: Any, _path: Path, at: Position, _canonical: Canonical) -> Any:
    made = Seq(value.at if isinstance(value, Seq) else at)
    if isinstance(value, Map):
        return value
    entries = value.entries() if isinstance(value, Seq) else [(value, at)]
    for entry, mark in entries:
        if isinstance(entry, Map):
            entry.setdefault("required", True)
            made.add(entry, mark)
        else:
            made.add(_marked({"path": entry, "required": True}, mark), mark)
    return made


def _text_list(value: Any, _path: Path, at: Position, _canonical: Canonical) -> Any:
    if not isinstance(value, str):
        return value
    made = Seq(at)
    made.add(value)
    return made


def _dns(value: Any, path: Path, at: Position, canonical: Canonical) -> Any:
    listed = _text_list(value, path, at, canonical)
    kept = Seq(at)
    for entry, mark in listed.entries() if isinstance(listed, Seq) else ():
        if entry not in ("", None):
            kept.add(entry, mark)
    return kept


def _gpus(value: Any, _path: Path, at: Position, _canonical: Canonical) -> Any:
    if not isinstance(value, str):
        return value
    made = Seq(at)
    made.add(_marked({"count": "all"}, at))
    return made


def _networks(value: Any, _path: Path, _at: Position, _canonical: Canonical) -> Any:
    if not isinstance(value, Seq):
        return value
    made = Map(value.at)
    for name, mark in value.entries():
        if isinstance(name, str):
            made.put(name, None, mark)
    return made


def _volume(entry: Any) -> list[Any]:
    return [parse_volume(entry)] if isinstance(entry, str) else [_with_target(entry, "mount")]


def _with_target(entry: Any, word: str) -> Any:
    if isinstance(entry, Map) and "target" not in entry:
        raise VolumeError(f"the {word} has no target")
    return entry


def _volumes(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    return canonical.items(value, path, _volume, "write source:target[:ro], or the long form")


def _exposed(entry: Any) -> list[Any]:
    if isinstance(entry, float):
        raise PortError(f"{go_text(entry)} is not a port")
    return [entry]


def _expose(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    return canonical.items(value, path, _exposed, "write an integer")


def _port(entry: Any) -> list[Any]:
    if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
        return list(parse_port(str(entry)))
    if isinstance(entry, float):
        raise PortError(f"{go_text(entry)} is not a port")
    return [_with_target(entry, "port")]


def _ports(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    return canonical.items(value, path, _port, 'write "HOST:CONTAINER", for example "8080:80"')


def _device(entry: Any) -> list[Any]:
    if not isinstance(entry, str):
        return [_with_target(entry, "device")]
    parts = entry.split(":")
    if len(parts) > 3:
        raise VolumeError(f"{entry!r} has too many colons")
    source, target, permissions = [*parts, "", ""][:3] if len(parts) < 3 else parts
    return [
        {
            "source": source,
            "target": target or source,
            "permissions": permissions if len(parts) == 3 else "rwm",
        }
    ]


def _devices(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    return canonical.items(value, path, _device, "write /dev/host[:/dev/container[:rwm]], or the long form")


def _file_uses(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    return canonical.items(value, path, lambda entry: [{"source": entry}] if isinstance(entry, str) else [entry], "")


def _pairs(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    """``["a=b"]`` as a mapping, every entry with a value."""
    if not isinstance(value, Seq):
        return value
    made = Map(value.at)
    for index, (entry, mark) in enumerate(value.entries()):
        key, separator, text = str(entry).partition("=")
        if not separator:
            canonical.fail(f"{entry!r} has no '='", mark, (*path, f"[{index}]"), "write name=value")
            continue
        made.put(key, text, mark)
    return made


def _ssh(value: Any, path: Path, _at: Position, canonical: Canonical) -> Any:
    if not isinstance(value, Seq):
        return value
    made = Map(value.at)
    for index, (entry, mark) in enumerate(value.entries()):
        key, separator, text = str(entry).partition("=")
        if not separator and key != "default":
            canonical.fail(f"{entry!r} is no ssh key", mark, (*path, f"[{index}]"), "write default, or id=path")
            continue
        made.put(key, text if separator else None, mark)
    return made


_BUILD: dict[str, Rewrite] = {"additional_contexts": _pairs, "secrets": _file_uses, "ssh": _ssh}
_SERVICE: dict[str, Rewrite] = {
    "build": _build,
    "configs": _file_uses,
    "depends_on": _depends_on,
    "devices": _devices,
    "dns": _dns,
    "env_file": _env_file,
    "expose": _expose,
    "extends": _extends,
    "gpus": _gpus,
    "label_file": _text_list,
    "models": _networks,
    "networks": _networks,
    "ports": _ports,
    "secrets": _file_uses,
    "volumes": _volumes,
}
