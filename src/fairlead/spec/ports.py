"""The short form of a published port: ``[ip:][host[-host]:]container[-container][/protocol]``.

Called by the canonical form. One entry with a range becomes one long entry a container port. Engines and the preflight
ask here which ports a service has.
"""

from __future__ import annotations

import re
from typing import Any

from fairlead.spec.model import Service

PROTOCOLS = ("tcp", "udp", "sctp")
_EXPOSED = re.compile(r"(\d+)(?:-(\d+))?(?:/(\w+))?")


class PortError(ValueError):
    """The text is no port."""


def parse_port(text: str) -> list[dict[str, Any]]:
    """The long forms that ``text`` stands for, in the order of their text (``10`` before ``9``), as Compose has it."""
    address, host, container, protocol = _parts(text)
    first, last = _range(container, text)
    host_first, host_last = _range(host, text) if host else (0, 0)
    if host and last != first and last - first != host_last - host_first:
        raise PortError(f"{text!r} maps {host_last - host_first + 1} host ports to {last - first + 1} container ports")
    if protocol.lower() not in PROTOCOLS:
        raise PortError(f"{protocol!r} is none of the protocols {', '.join(PROTOCOLS)}")
    found = []
    for offset in range(last - first + 1):
        entry: dict[str, Any] = {"mode": "ingress"}
        if address:
            entry["host_ip"] = address
        entry["target"] = first + offset
        if host:
            dynamic = first == last and host_first != host_last
            entry["published"] = f"{host_first}-{host_last}" if dynamic else str(host_first + offset)
        entry["protocol"] = protocol.lower()
        found.append(entry)
    return sorted(found, key=lambda entry: f"{entry['target']}/")


def container_ports(service: Service) -> tuple[int, ...]:
    """The container ports of ``service``, `ports` first, then `expose`, each once, in the order of the file.

    :raises PortError: an entry of `expose` is none.
    """
    found = [port.target for port in service.ports]
    for entry in service.expose:
        match = _EXPOSED.fullmatch(entry.strip())
        if match is None:
            raise PortError(f"expose: {entry!r} is no port")
        first = int(match[1])
        found.extend(range(first, int(match[2] or first) + 1))
    return tuple(dict.fromkeys(found))


def _parts(text: str) -> tuple[str, str, str, str]:
    front, _, container = text.rpartition(":")
    address, _, host = front.rpartition(":")
    container, _, protocol = container.partition("/")
    protocol = protocol.partition("/")[0] or "tcp"
    if not container:
        raise PortError(f"{text!r} names no container port")
    return _address(address, text) if address else "", host, container, protocol


def _address(address: str, text: str) -> str:
    bracketed = address.startswith("[") and address.endswith("]")
    inner = address[1:-1] if bracketed else address
    import ipaddress  # slow to import, and few ports name an address

    try:
        if (":" in inner) != bracketed and ":" in inner:
            raise ValueError
        ipaddress.ip_address(inner.partition("%")[0])
    except ValueError:
        raise PortError(f"{address!r} in {text!r} is not an IP address (IPv6 stands in [brackets])") from None
    return inner


def _range(text: str, whole: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    start = _number(first, whole)
    end = _number(last, whole) if dash else start
    if end < start:
        raise PortError(f"the range {text!r} in {whole!r} runs backwards")
    return start, end


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > 65535:
        raise PortError(f"{text!r} in {whole!r} is not a port (0 to 65535)")
    return int(text)
