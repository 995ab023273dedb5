"""Which networks a replica joins, with which names and addresses.

Called by `body` (the first network) and `start` (the others, where the daemon's API takes one at creation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.engines.docker.names import DEFAULT_NETWORK, network_name
from fairlead.spec.model import Service
from fairlead.spec.revision import Revision

MANY_NETWORKS_API = (1, 44)
"""From this version on a container can be created on several networks at once, and the MAC is the endpoint's."""

GATEWAY_PRIORITY_API = (1, 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One network of one replica. ``key`` is the file's name for it, ``name`` the daemon's."""

    key: str
    name: str
    endpoint: Mapping[str, Any]


def attachments_of(revision: Revision, project: str, api: tuple[int, int]) -> tuple[Attachment, ...]:
    """The networks of a replica, the one with the highest priority first; none under a `network_mode`."""
    service = revision.service
    if service.network_mode:
        return ()
    wanted = service.networks or {DEFAULT_NETWORK: {}}
    ordered = sorted(wanted.items(), key=lambda item: (-int((item[1] or {}).get("priority") or 0), item[0]))
    return tuple(
        Attachment(
            key=key,
            name=network_name(project, key, revision.resources),
            endpoint=_endpoint(service, options or {}, api),
        )
        for key, options in ordered
    )


def aliases_of(service: Service) -> tuple[str, ...]:
    """The names that a replica has on every network it is on: none where the router answers to them."""
    if any(port.inside for port in service.ports):
        return ()
    return names_of(service)


def names_of(service: Service) -> tuple[str, ...]:
    """The names under which others know the service."""
    names = [service.name]
    if service.container_name and service.container_name != service.name:
        names.append(service.container_name)
    return tuple(names)


def _endpoint(service: Service, options: Mapping[str, Any], api: tuple[int, int]) -> dict[str, Any]:
    own = aliases_of(service)
    aliases = [*own, *(str(alias) for alias in options.get("aliases") or ())] if own else []
    value: dict[str, Any] = {"Aliases": list(dict.fromkeys(aliases))}
    addresses = {
        "IPv4Address": options.get("ipv4_address"),
        "IPv6Address": options.get("ipv6_address"),
        "LinkLocalIPs": options.get("link_local_ips"),
    }
    if given := {key: address for key, address in addresses.items() if address}:
        value["IPAMConfig"] = given
    mac = options.get("mac_address") or service.extra.get("mac_address")
    if mac and api >= MANY_NETWORKS_API:
        value["MacAddress"] = str(mac)
    driver_options = dict(options.get("driver_opts") or {})
    if interface := options.get("interface_name"):
        driver_options["com.docker.network.endpoint.ifname"] = interface
    if driver_options:
        value["DriverOpts"] = {str(key): str(entry) for key, entry in driver_options.items()}
    if options.get("gw_priority") is not None and api >= GATEWAY_PRIORITY_API:
        value["GwPriority"] = int(options["gw_priority"])
    return value
