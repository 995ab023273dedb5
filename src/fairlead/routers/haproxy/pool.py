"""Makes one running backend hold exactly the wished endpoints, by the Runtime API alone, and reads it back.

Called by `router.apply` and by its sweep of leftovers. What comes is added before what goes is taken out, so a pool
that changes wholly is never empty in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from msgspec.structs import replace

from fairlead.errors import RouterError
from fairlead.routers.haproxy.api import Worker
from fairlead.routers.haproxy.names import quoted, unquoted
from fairlead.routers.haproxy.render import cookie_key, server_address, server_options
from fairlead.routing import Address, Endpoint, EndpointState, Route

# srv_admin_state: forced and inherited maintenance, no address; forced and inherited drain. 0x04 only remembers that
# the configuration had the server `disabled`, and stays when it has been made ready.
_OUT = 0x01 | 0x02 | 0x20 | 0x08 | 0x10
_BUSY = "Server still has connections"


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend as the worker has it. ``out``: gets no new request."""

    name: str
    address: Address
    weight: int
    out: bool


Backends: TypeAlias = Mapping[str, Mapping[str, Server]]


async def running(worker: Worker) -> Backends:
    """Backend name → server name → server."""
    found: dict[str, dict[str, Server]] = {}
    for row in await worker.servers():
        server = Server(
            row["srv_name"],
            Address(host=row["srv_addr"], port=int(row["srv_port"])),
            int(row["srv_uweight"]),
            bool(int(row["srv_admin_state"]) & _OUT),
        )
        found.setdefault(row["be_name"], {})[server.name] = server
    return found


async def change(worker: Worker, route: Route, present: Mapping[str, Server]) -> None:
    """Turn ``present`` into the route's endpoints. Servers that must go but are busy stay out of the pool."""
    wished = {quoted(endpoint.replica_id): endpoint for endpoint in route.endpoints}
    by_urgency = sorted(wished.items(), key=lambda item: (item[1].state is EndpointState.DRAIN, item[0]))
    for name, endpoint in by_urgency:
        await _settle(worker, route, endpoint, present.get(name))
    await remove(worker, quoted(route.key), sorted(present.keys() - wished.keys()))


async def remove(worker: Worker, backend: str, servers: list[str]) -> list[str]:
    """Take ``servers`` out and delete those that are free; the names of those that are still busy."""
    for name in servers:
        await worker.order(f"set server {backend}/{name} state maint")
    busy = []
    for name in servers:
        answer = (await worker.ask(f"del server {backend}/{name}")).strip()
        if answer.startswith(_BUSY):
            busy.append(name)
        elif not answer.startswith(("Server deleted", "No such server")):
            raise RouterError(f"HAProxy does not delete {backend}/{name}: {answer}")
    return busy


async def _settle(worker: Worker, route: Route, endpoint: Endpoint, present: Server | None) -> None:
    name = f"{quoted(route.key)}/{quoted(endpoint.replica_id)}"
    out = endpoint.state is EndpointState.DRAIN
    if present is None:
        await _add(worker, route, endpoint, name)
        present = Server(name, endpoint.address, endpoint.weight, out=True)
    if present.address != endpoint.address:
        # The same replica id elsewhere: nothing new may reach the old address while it moves.
        await worker.order(f"set server {name} state maint")
        moved = f"set server {name} addr {endpoint.address.host} port {endpoint.address.port}"
        await worker.order(moved, "IP changed", "port changed", "no need to change")
        present = Server(name, endpoint.address, present.weight, out=True)
    if present.weight != endpoint.weight:
        await worker.order(f"set weight {name} {endpoint.weight}")
    if present.out != out:
        await worker.order(f"set server {name} state {'maint' if out else 'ready'}")


async def _add(worker: Worker, route: Route, endpoint: Endpoint, name: str) -> None:
    options = f"weight {endpoint.weight} {server_options(route)}".strip()
    await worker.order(f"add server {name} {server_address(endpoint.address)} {options}", "New server registered")
    if route.sticky_cookie:
        # 2.6 gives a server that is added at run time no cookie until the key is set anew.
        await worker.order(f"set dynamic-cookie-key backend {quoted(route.key)} {cookie_key(route)}")


def filled(route: Route, backends: Backends) -> Route:
    """``route`` with the endpoints that its backend has."""
    endpoints = tuple(
        Endpoint(
            replica_id=unquoted(name),
            address=server.address,
            state=EndpointState.DRAIN if server.out else EndpointState.READY,
            weight=server.weight,
        )
        for name, server in sorted(backends.get(quoted(route.key), {}).items())
    )
    return replace(route, endpoints=endpoints)


def difference(route: Route, present: Mapping[str, Server]) -> str:
    """What the backend serves otherwise than wished, in words; empty: exactly this."""
    wished = {quoted(endpoint.replica_id): endpoint for endpoint in route.endpoints}
    for name, endpoint in sorted(wished.items()):
        server = present.get(name)
        out = endpoint.state is EndpointState.DRAIN
        if server is None:
            return f"{endpoint.replica_id} is missing"
        if (server.address, server.weight, server.out) != (endpoint.address, endpoint.weight, out):
            return f"{endpoint.replica_id} is {server}"
    serving = sorted(name for name, server in present.items() if name not in wished and not server.out)
    return f"{serving[0]} still serves" if serving else ""
