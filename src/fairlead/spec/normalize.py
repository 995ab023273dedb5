"""Say what the file leaves unsaid: defaults, the default network, names of resources, implied dependencies.

Called by the loader when all files are merged. Works in place on the canonical tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Path, Seq
from fairlead.spec.volumes import clean

CONTENT = "x-#value"
"""Under this key a secret carries the value of its variable; never printed."""


def set_defaults(model: Map) -> None:
    """Defaults of single entries; done before paths are resolved."""
    for service in _services(model).values():
        if isinstance(service.get("build"), Map):
            service["build"].setdefault("context", ".")
        for use in _list(service.get("secrets")):
            if isinstance(use, Map):
                use.setdefault("target", f"/run/secrets/{use.get('source')}")
        for port in _list(service.get("ports")):
            if isinstance(port, Map):
                port.setdefault("protocol", "tcp")
                port.setdefault("mode", "ingress")
        for request in device_requests(service):
            if "count" not in request and "device_ids" not in request:
                request["count"] = "all"


def device_requests(service: Map) -> list[Map]:
    """Every request for a device: `gpus` and `deploy.resources.reservations.devices`."""
    node: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        node = node.get(key) if isinstance(node, Map) else None
    return [request for request in [*_list(service.get("gpus")), *_list(node)] if isinstance(request, Map)]


def check_resources(model: Map, report: Report) -> None:
    """What the shapes cannot say about volumes, configs, secrets and devices."""
    for name, volume in _entries(model, "volumes"):
        others = [key for key in volume if key not in ("name", "external") and not key.startswith("x-")]
        if volume.get("external") is True and others:
            report.problem(
                f"an external volume cannot have {others[0]!r}",
                volume.mark(others[0]),
                ("volumes", name, others[0]),
                f"remove {others[0]!r}: an external volume exists already",
            )
    for kind, ways in (("configs", ("file", "environment", "content")), ("secrets", ("file", "environment"))):
        for name, entry in _entries(model, kind):
            _check_content(entry, ways, (kind, name), report)
    for name, service in _services(model).items():
        for request in device_requests(service):
            if "device_ids" in request and "count" in request:
                report.problem(
                    "'count' and 'device_ids' exclude each other", request.at, ("services", name), "keep one of the two"
                )


def _check_content(entry: Map, ways: tuple[str, ...], path: Path, report: Report) -> None:
    given = [way for way in ways if way in entry]
    words = ", ".join(ways)
    if len(given) > 1:
        report.problem(f"{' and '.join(given)} exclude each other", entry.mark(given[1]), path, f"keep one of {words}")
    elif not given and "driver" not in entry and "external" not in entry and not report.is_broken(path):
        report.problem(f"one of {words} is missing", entry.at, path, f"add {ways[0]!r}, or 'external: true'")


def resolve_environment(model: Map, environment: Mapping[str, str]) -> None:
    """Give listed variables without a value, and secrets and configs made of a variable, their value."""
    for service in _services(model).values():
        listed = service.get("environment")
        if isinstance(listed, Seq):
            listed[:] = [
                f"{entry}={environment[entry]}" if isinstance(entry, str) and entry in environment else entry
                for entry in listed
            ]
    for kind, key in (("secrets", CONTENT), ("configs", "content")):
        for _, entry in _entries(model, kind):
            variable = entry.get("environment")
            if isinstance(variable, str) and variable in environment:
                entry[key] = environment[variable]


def normalize(model: Map, name: str, environment: Mapping[str, str]) -> None:
    """Everything implied, once the project's name is known."""
    model["name"] = name
    _add_default_network(model)
    for service in _services(model).values():
        _normalize_service(service, environment)
    _name_resources(model, name)


def _normalize_service(service: Map, environment: Mapping[str, str]) -> None:
    if service.get("pull_policy") == "if_not_present":
        service["pull_policy"] = "missing"
    build = service.get("build")
    if isinstance(build, Map):
        if build.get("context") is None:
            build["context"] = "."
        if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
            build["dockerfile"] = "Dockerfile"
        if "args" in build:
            build["args"] = _valued(build["args"], environment, keep=False)
    if "environment" in service:
        service["environment"] = _valued(service["environment"], environment, keep=True)
    for mount in _list(service.get("volumes")):
        if isinstance(mount, Map) and isinstance(mount.get("target"), str):
            mount["target"] = clean(mount["target"])
    _add_dependencies(service)


def _valued(value: Any, environment: Mapping[str, str], *, keep: bool) -> Any:
    """Names without a value take it from the environment; without one there they stay (``keep``) or go."""
    if isinstance(value, Map):
        for key in [key for key, item in value.items() if item is None]:
            if key in environment:
                value[key] = environment[key]
            elif not keep:
                del value[key]
        return value
    if not isinstance(value, Seq):
        return value
    made = Seq(value.at)
    for entry, mark in value.entries():
        if isinstance(entry, str) and "=" not in entry:
            if entry in environment:
                made.add(f"{entry}={environment[entry]}", mark)
                continue
            if not keep:
                continue
        made.add(entry, mark)
    return made


def _add_dependencies(service: Map) -> None:
    depends_on = service.get("depends_on")
    found: Map = depends_on if isinstance(depends_on, Map) else Map(service.at)
    for key, names, restart in _implied(service):
        for name in names:
            if name not in found:
                entry = Map(service.mark(key))
                entry.update(condition="service_started", restart=restart, required=True)
                found.put(name, entry, service.mark(key))
    if found:
        service["depends_on"] = found


def _implied(service: Map) -> list[tuple[str, list[str], bool]]:
    links = [link for link in _list(service.get("links")) if isinstance(link, str)]
    implied = [("links", [link.partition(":")[0] if link.count(":") == 1 else link for link in links], True)]
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        value = service.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            implied.append((key, [value.removeprefix("service:")], True))
    sources = [source for source in _list(service.get("volumes_from")) if isinstance(source, str)]
    shared = [source.partition(":")[0] for source in sources if not source.startswith("container:")]
    return [*implied, ("volumes_from", shared, False)]


def _add_default_network(model: Map) -> None:
    used = False
    for service in _services(model).values():
        if "network_mode" in service or service.get("provider") is not None:
            continue
        networks = service.get("networks")
        if not networks:
            networks = Map(service.at)
            networks["default"] = None
            service["networks"] = networks
        used = used or (isinstance(networks, Map) and "default" in networks)
    if not used:
        return
    networks = model.get("networks")
    if not isinstance(networks, Map):
        networks = Map(model.at)
        model["networks"] = networks
    networks.setdefault("default", None)


def _name_resources(model: Map, project: str) -> None:
    for kind in ("networks", "volumes", "configs", "secrets"):
        resources = model.get(kind)
        if not isinstance(resources, Map):
            continue
        for key in resources:
            if resources[key] is None:
                resources[key] = Map(resources.mark(key))
            resource = resources[key]
            if isinstance(resource, Map) and resource.get("name") is None:
                resource["name"] = key if resource.get("external") in (True, "true") else f"{project}_{key}"


def _services(model: Map) -> dict[str, Map]:
    return dict(_entries(model, "services"))


def _entries(model: Map, kind: str) -> list[tuple[str, Map]]:
    entries = model.get(kind)
    if not isinstance(entries, Map):
        return []
    return [(name, entry) for name, entry in entries.items() if isinstance(entry, Map)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, Seq) else []
