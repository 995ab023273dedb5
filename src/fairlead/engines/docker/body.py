"""One replica as the API's request to create a container: what the file says, and who the replica is.

Called by `start`. Pure: the same replica gives the same request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.docker_api.units import nanoseconds
from fairlead.engines.docker.attachments import MANY_NETWORKS_API, Attachment
from fairlead.engines.docker.labels import DEFINITION, labels_of
from fairlead.engines.docker.limits import limits_of
from fairlead.engines.docker.mounts import mounts_of
from fairlead.engines.docker.recall import written_down
from fairlead.observed import ReplicaSpec
from fairlead.spec.model import Healthcheck, Service

START_INTERVAL_API = (1, 44)
ANNOTATIONS_API = (1, 43)


def container_name(replica_id: str) -> str:
    """The container is called as the replica is, so that `docker logs shop.api.7` needs no look-up."""
    return replica_id


def ports_of(service: Service) -> tuple[int, ...]:
    """The TCP ports on which a replica can be reached: those of `ports`, `expose` and its probes, in order."""
    found = [port.target for port in service.ports if port.routed]
    for entry in service.expose:
        first, _, last = entry.removesuffix("/tcp").partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    probes = service.options.probes
    found += [probe.port for probe in (probes.startup, probes.readiness, probes.liveness) if probe and probe.port]
    return tuple(dict.fromkeys(found))


def body_of(
    replica: ReplicaSpec,
    scope: str,
    attachments: Sequence[Attachment],
    api: tuple[int, int],
    *,
    network_mode: str | None,
    extra_volumes: Sequence[str] = (),
) -> dict[str, Any]:
    """The request's body. ``extra_volumes``: folders that must be writable though the root is not."""
    service = replica.revision.service
    ports = ports_of(service)
    at_creation = attachments if api >= MANY_NETWORKS_API else attachments[:1]
    body: dict[str, Any] = {
        "Image": service.image,
        "Env": [f"{key}={value}" for key, value in sorted({**_own(replica), **service.environment}.items())],
        "Labels": {**service.labels, **labels_of(replica, scope, ports), DEFINITION: written_down(replica.revision)},
        "Tty": service.tty,
        "OpenStdin": service.stdin_open,
        "ExposedPorts": {f"{port.target}/{port.protocol}": {} for port in service.ports if not port.inside},
        "HostConfig": _host(replica, api, network_mode, attachments, extra_volumes),
        "NetworkingConfig": {"EndpointsConfig": {each.name: dict(each.endpoint) for each in at_creation}},
    }
    optional = {
        "Cmd": None if service.command is None else list(service.command),
        "Entrypoint": None if service.entrypoint is None else list(service.entrypoint),
        "WorkingDir": service.working_dir,
        "User": service.user,
        "Hostname": service.hostname,
        "Domainname": service.extra.get("domainname"),
        "StopSignal": service.stop_signal,
        "Healthcheck": _healthcheck(service.healthcheck, api),
        "MacAddress": None if api >= MANY_NETWORKS_API else _mac(service),
        "StopTimeout": round(service.stop_grace_period_s),
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def _own(replica: ReplicaSpec) -> dict[str, str]:
    """Who a replica is, for its own logs and answers; the same names on every engine, and the file's own win."""
    return {
        "FAIRLEAD_PROJECT": replica.project,
        "FAIRLEAD_SERVICE": replica.service,
        "FAIRLEAD_REPLICA": replica.id,
        "FAIRLEAD_REVISION": replica.revision.id,
        "FAIRLEAD_SLOT": str(replica.slot),
    }


def _host(
    replica: ReplicaSpec,
    api: tuple[int, int],
    network_mode: str | None,
    attachments: Sequence[Attachment],
    extra_volumes: Sequence[str],
) -> dict[str, Any]:
    service = replica.revision.service
    host: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": network_mode or (attachments[0].name if attachments else "none"),
        "ReadonlyRootfs": service.read_only,
        "Privileged": service.privileged,
        "GroupAdd": list(service.group_add),
        "PortBindings": _direct_bindings(service),
        **limits_of(service),
        **mounts_of(replica.revision, replica.project, api),
    }
    host["Mounts"] += [{"Type": "volume", "Target": target} for target in extra_volumes]
    if service.init is not None:
        host["Init"] = service.init
    if service.logging is not None:
        host["LogConfig"] = {"Type": service.logging.driver or "", "Config": dict(service.logging.options)}
    if api >= ANNOTATIONS_API and service.extra.get("annotations"):
        host["Annotations"] = dict(service.extra["annotations"])
    return host


def _direct_bindings(service: Service) -> dict[str, list[dict[str, str]]]:
    """UDP and SCTP ports go past the router, straight to the container; TCP ports are the router's."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in service.ports:
        if not port.routed and port.published is not None:
            entry = {"HostIp": port.host_ip or "", "HostPort": str(port.published)}
            bindings.setdefault(f"{port.target}/{port.protocol}", []).append(entry)
    return bindings


def _healthcheck(check: Healthcheck | None, api: tuple[int, int]) -> dict[str, Any] | None:
    if check is None:
        return None
    if check.disable:
        return {"Test": ["NONE"]}
    value: dict[str, Any] = {
        "Interval": nanoseconds(check.interval_s),
        "Timeout": nanoseconds(check.timeout_s),
        "Retries": check.retries or 0,
        "StartPeriod": nanoseconds(check.start_period_s),
    }
    if check.test:
        shell = check.test[0] in ("CMD-SHELL", "CMD", "NONE")
        value["Test"] = list(check.test) if shell else ["CMD", *check.test]
    if check.start_interval_s is not None and api >= START_INTERVAL_API:
        value["StartInterval"] = nanoseconds(check.start_interval_s)
    return value


def _mac(service: Service) -> str | None:
    options: Mapping[str, Any]
    for options in service.networks.values():
        if (options or {}).get("mac_address"):
            return str(options["mac_address"])
    mac = service.extra.get("mac_address")
    return None if mac is None else str(mac)
