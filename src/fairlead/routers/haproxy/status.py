"""What the running workers say, added up: states, what is in flight, counters.

Called by `router`. After a reload the old worker finishes what it began, so everything that counts as in flight is
asked of every worker; states and weights are the current worker's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fairlead.routers.base import TrafficSample
from fairlead.routers.haproxy.api import Worker
from fairlead.routers.haproxy.names import STREAMS_TABLE, frontend_name, quoted, unquoted
from fairlead.routers.haproxy.pool import Backends, running
from fairlead.routers.haproxy.state import Desired
from fairlead.routing import EndpointState, EndpointStatus, Route, RouteStatus

_FRONTEND, _BACKEND, _SERVER = "0", "1", "2"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker at one moment; servers are ``backend/server``."""

    pid: int
    rows: Mapping[str, Mapping[str, str]]
    open_frontends: frozenset[str]
    backends: frozenset[str]
    in_flight: Mapping[str, int]
    streams: Mapping[str, int]
    modes: Mapping[str, str]
    servers: Backends = field(default_factory=dict)


async def report(worker: Worker, *, current: bool) -> WorkerReport:
    rows: dict[str, dict[str, str]] = {}
    open_frontends, backends, modes = set(), set(), {}
    for row in await worker.statistics():
        match row["type"]:
            case "0" if row["status"] == "OPEN":
                open_frontends.add(row["pxname"])
            case "1":
                backends.add(row["pxname"])
            case "2":
                rows[f"{row['pxname']}/{row['svname']}"] = row
                modes[row["pxname"]] = row.get("mode", "")
    used = {row["bkname/svname"]: int(row["used_cur"]) for row in await worker.connections()}
    in_flight = {
        name: max(used.get(name, 0), _number(rows.get(name, {}), "scur")) + _number(rows.get(name, {}), "qcur")
        for name in used.keys() | rows.keys()
    }
    return WorkerReport(
        worker.pid,
        rows,
        frozenset(open_frontends),
        frozenset(backends),
        in_flight,
        await worker.streams(STREAMS_TABLE),
        modes,
        await running(worker) if current else {},
    )


def statuses(
    project: str, desired: Desired, current: WorkerReport, old: Iterable[WorkerReport], failing: frozenset[str]
) -> dict[str, RouteStatus]:
    """Every route of ``project`` that the proxy has or should have, by key."""
    routes = {quoted(route.key): route for route in desired.projects.get(project, ())}
    known = {name for name in current.backends if unquoted(name).startswith(f"{project}/")}
    workers = (current, *old)
    found = {}
    for name in sorted(known | routes.keys()):
        route = routes.get(name)
        listen = desired.listen(route) if route else None
        listening = listen is not None and name in known and frontend_name(listen) in current.open_frontends
        endpoints = _endpoints(name, route, workers, failing)
        key, port = unquoted(name), listen.port if listen else 0
        found[key] = RouteStatus(key=key, listening=listening, endpoints=endpoints, port=port)
    return found


def _endpoints(
    backend: str, route: Route | None, workers: Sequence[WorkerReport], failing: frozenset[str]
) -> tuple[EndpointStatus, ...]:
    servers = workers[0].servers.get(backend, {})
    wished = {quoted(endpoint.replica_id): endpoint for endpoint in route.endpoints} if route else {}
    found = []
    for name in servers.keys() | wished.keys():
        full = f"{backend}/{name}"
        server = servers.get(name)
        in_flight = sum(worker.in_flight.get(full, 0) for worker in workers)
        if server is None:
            state, weight = EndpointState.ABSENT, wished[name].weight
        else:
            state, weight = EndpointState.DRAIN if server.out else EndpointState.READY, server.weight
        if name not in wished and not in_flight and state is EndpointState.DRAIN:
            continue  # a leftover that nothing uses: it only waits to be deleted
        streams = sum(_streams(worker, backend, full) for worker in workers)
        found.append(
            EndpointStatus(
                replica_id=unquoted(name),
                state=state,
                weight=weight,
                in_flight=in_flight,
                streams=min(streams, in_flight),
                failing=full in failing,
            )
        )
    return tuple(sorted(found, key=lambda endpoint: endpoint.replica_id))


def _streams(worker: WorkerReport, backend: str, server: str) -> int:
    if worker.modes.get(backend) == "tcp":
        return worker.in_flight.get(server, 0)
    return worker.streams.get(server, 0)


class Counters:
    """Counters that keep growing across reloads: what each worker said last, added up, while the endpoint stays."""

    def __init__(self) -> None:
        self._last: dict[str, dict[int, Counter[str]]] = {}

    def add(self, reports: Sequence[WorkerReport]) -> None:
        """``reports``: the current worker first."""
        for report in reports:
            for server, row in report.rows.items():
                self._last.setdefault(server, {})[report.pid] = _counted(row)
        for gone in self._last.keys() - reports[0].rows.keys():
            del self._last[gone]

    def total(self, server: str) -> Counter[str]:
        return sum(self._last.get(server, {}).values(), Counter())

    def forget(self) -> None:
        """HAProxy itself is another one: its counters begin anew."""
        self._last.clear()


_COUNTED = ("stot", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "econ", "eresp", "wredis")


def _counted(row: Mapping[str, str]) -> Counter[str]:
    return Counter({name: _number(row, name) for name in _COUNTED})


def _number(row: Mapping[str, str], name: str) -> int:
    return int(row.get(name) or 0)


def samples(project: str, reports: Sequence[WorkerReport], counters: Counters) -> tuple[TrafficSample, ...]:
    found = []
    for server, row in reports[0].rows.items():
        backend, _, name = server.partition("/")
        route = unquoted(backend)
        if not route.startswith(f"{project}/"):
            continue
        total = counters.total(server)
        found.append(
            TrafficSample(
                route=route,
                replica_id=unquoted(name),
                # An attempt that was carried to another server counts there; here it is an error to connect.
                requests=total["stot"] - total["wredis"],
                status={f"{digit}xx": total[f"hrsp_{digit}xx"] for digit in range(1, 6)},
                connect_errors=total["econ"] + total["wredis"],
                response_errors=total["eresp"],
                latency_ms=float(_number(row, "rtime") or _number(row, "ttime")),
                in_flight=sum(report.in_flight.get(server, 0) for report in reports),
                queued=_number(row, "qcur"),
            )
        )
    return tuple(sorted(found, key=lambda sample: (sample.route, sample.replica_id)))


class PassiveHealth:
    """Which endpoints cannot be reached: connection errors that grow while no answer comes, looked at each time."""

    _FORGET_S = 10.0

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._failing: dict[str, float] = {}

    def look(self, counters: Counters, servers: Iterable[str], now_s: float) -> tuple[frozenset[str], list[str]]:
        """The failing servers, and what changed since the last look, in words."""
        words = []
        seen = {}
        for server in sorted(servers):
            total = counters.total(server)
            errors = total["econ"] + total["eresp"] + total["wredis"]
            answers = sum(total[f"hrsp_{digit}xx"] for digit in range(1, 6))
            old_errors, old_answers = self._seen.get(server, (errors, answers))
            seen[server] = (errors, answers)
            label = unquoted(server.partition("/")[2])
            if errors > old_errors and answers <= old_answers:
                if server not in self._failing:
                    words.append(f"{label} cannot be reached")
                self._failing[server] = now_s
            elif server in self._failing and (answers > old_answers or now_s - self._failing[server] > self._FORGET_S):
                del self._failing[server]
                words.append(f"{label} is no longer failing")
        self._seen = seen
        self._failing = {server: since for server, since in self._failing.items() if server in seen}
        return frozenset(self._failing), words
