"""The controller's core in a world where every command succeeds at once, stepped by the test.

For rules that are read most easily as a story: a file comes up, a replica dies, what does the operator see. What
goes wrong between the core and the world (lost replies, crashes, stale lists) is the simulation's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from fairlead.controller.book import Book
from fairlead.controller.controls import Operation, OperationKind, UpRequest
from fairlead.controller.core import Core, Order
from fairlead.observed import Exit, ExitCause, Health, Observation, ObservedReplica, ReplicaHealth, ReplicaState
from fairlead.rollout.commands import ApplyRoutes, RemoveReplica, StartReplica, StopReplica
from fairlead.routing import Address, EndpointStatus, Route, RouteStatus
from fairlead.spec.model import Port, Project, Service
from fairlead.store.memory import MemoryStore

PROJECT = "shop"
CHOSEN_PORT = 40001
STEP_S = 0.1


def service(name: str, version: str = "v1", port: int | None = None, **fields: Any) -> Service:
    """A service whose revision is told apart by ``version`` and that publishes ``port``."""
    ports = (Port(target=8000, published=port),) if port is not None else ()
    return Service(name=name, command=("serve",), environment={"VERSION": version}, ports=ports, **fields)


@dataclass
class World:
    """One project. ``crashes``: whether the replica of this start ends with status 1 as soon as it has started."""

    crashes: Callable[[StartReplica], bool] = lambda start: False
    store: MemoryStore = field(default_factory=MemoryStore)
    now_s: float = 1_000.0
    replicas: dict[str, ObservedReplica] = field(default_factory=dict)
    health: dict[str, ReplicaHealth] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    started: list[StartReplica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = Core(self.store, holder="test", cores=2, now_s=self.now_s)

    @property
    def book(self) -> Book:
        return self.core.book(PROJECT)

    def up(self, *services: Service, unselected: tuple[str, ...] = ()) -> Operation:
        named = {one.name: one for one in services}
        project = Project(name=PROJECT, working_dir="/srv", services=named, unselected=unselected)
        operation = self.core.open_operation(PROJECT, OperationKind.UP, self.now_s)
        return self.core.up(UpRequest(project=project), operation.id, "process", self.now_s)

    def ended(self, operation: Operation, most_s: float = 60.0) -> Operation:
        """``operation`` as it ended."""
        until_s = self.now_s + most_s
        while (found := self.core.operation(PROJECT, operation.id)).ended_at_s is None:
            assert self.now_s < until_s, f"{operation.kind} goes on after {most_s:g} s: {self.said()[-5:]}"
            self.step()
        return found

    def for_s(self, duration_s: float) -> None:
        until_s = self.now_s + duration_s
        while self.now_s < until_s:
            self.step()

    def step(self) -> None:
        """One look, and everything that follows from it done."""
        self.now_s += STEP_S
        for order in self.core.observe(self.observation(), self.now_s):
            self._carry_out(order)
            self.core.settle(PROJECT, order.intent, order.command, None, self.now_s)

    def observation(self) -> Observation:
        return Observation(
            project=PROJECT,
            replicas=tuple(self.replicas[key] for key in sorted(self.replicas)),
            health=dict(self.health),
            routes={route.key: _status(route) for route in self.routes},
        )

    def said(self) -> list[str]:
        """The messages of all events."""
        return [event.message for event in self.store.events(PROJECT)]

    def end(self, replica_id: str, status: int) -> None:
        """The replica's process exits."""
        how = Exit(cause=ExitCause.EXITED, code=status)
        self.replicas[replica_id] = replace(self.replicas[replica_id], state=ReplicaState.EXITED, exit=how)
        self.health.pop(replica_id, None)

    def _carry_out(self, order: Order) -> None:
        match order.command:
            case StartReplica() as start:
                self._start(start)
            case StopReplica(replica_id=replica_id):
                self.end(replica_id, 0)
            case RemoveReplica(replica_id=replica_id):
                self.replicas.pop(replica_id, None)
            case ApplyRoutes(routes=routes):
                self.routes = routes

    def _start(self, start: StartReplica) -> None:
        self.started.append(start)
        self.replicas[start.replica_id] = ObservedReplica(
            id=start.replica_id,
            project=PROJECT,
            service=start.service,
            revision_id=start.revision_id,
            slot=start.slot,
            generation=start.generation,
            state=ReplicaState.RUNNING,
            addresses={8000: Address(host="127.0.0.1", port=20_000 + len(self.started))},
            started_at_s=self.now_s,
        )
        self.health[start.replica_id] = ReplicaHealth(health=Health.READY, reason="ready")
        if self.crashes(start):
            self.end(start.replica_id, 1)


def _status(route: Route) -> RouteStatus:
    endpoints = tuple(EndpointStatus(replica_id=e.replica_id, state=e.state) for e in route.endpoints)
    return RouteStatus(key=route.key, listening=True, endpoints=endpoints, port=route.listen.port or CHOSEN_PORT)
