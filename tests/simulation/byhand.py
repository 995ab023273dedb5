"""A small world that a test steps by hand: nothing happens in it but what the test says.

Used by `tests/unit/rollout` and `tests/property/rollout`. Commands wait in :attr:`ByHand.orders` until the test
carries them out; time passes only in :meth:`ByHand.look`.
"""

from __future__ import annotations

from msgspec.structs import replace

from fairlead.controller.controls import Operation, OperationKind, UpRequest
from fairlead.controller.core import Core, Order
from fairlead.errors import FairleadError
from fairlead.observed import Exit, ExitCause, Health, Observation, ObservedReplica, ReplicaHealth, ReplicaState
from fairlead.rollout import commands
from fairlead.rollout.state import Instance, ServiceState
from fairlead.routing import Address, EndpointState, EndpointStatus, RouteStatus
from fairlead.spec.model import Deploy, Mount, Port, Project, Service, UpdateConfig
from fairlead.store.base import Store
from fairlead.store.memory import MemoryStore

PROJECT = "shop"
START_S = 1_000_000.0


def api(version: int = 1, replicas: int = 2, *, update: UpdateConfig | None = None, writes: bool = False) -> Service:
    """A service with a port; ``writes``: with a volume too."""
    return Service(
        name="api",
        command=("serve",),
        environment={"V": str(version)},
        ports=(Port(target=8000, published=8080),),
        volumes=(Mount(type="volume", source="data", target="/data"),) if writes else (),
        deploy=Deploy(replicas=replicas, update=update),
    )


def project(*services: Service) -> Project:
    return Project(name=PROJECT, working_dir="/srv", services={service.name: service for service in services})


class ByHand:
    """``replicas``: what runs, by id. ``routes``: what the proxy serves, by key. ``signalled``: in order."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store if store is not None else MemoryStore()
        self.now_s = START_S
        self.replicas: dict[str, ObservedReplica] = {}
        self.health: dict[str, Health] = {}
        self.routes: dict[str, RouteStatus] = {}
        self.orders: list[Order] = []
        self.signalled: list[str] = []
        self.core = self._controller()

    def _controller(self) -> Core:
        return Core(self.store, holder="test", cores=2, now_s=self.now_s)

    # Operators

    def up(self, *services: Service) -> Operation:
        operation = self.core.open_operation(PROJECT, OperationKind.UP, self.now_s)
        return self.core.up(UpRequest(project=project(*services)), operation.id, "memory", self.now_s)

    def restart_controller(self, jump_s: float = 0.0) -> None:
        """The controller dies with everything that it had asked for, and another takes over."""
        self.now_s += jump_s
        self.orders = []
        self.core = self._controller()

    # The world

    def look(self, after_s: float = 0.2, *, taken_s: float | None = None, routes_known: bool = True) -> list[Order]:
        """Let time pass, look, and answer with the new commands, which wait to be carried out."""
        self.now_s += after_s
        observation = Observation(
            project=PROJECT,
            replicas=tuple(self.replicas[key] for key in sorted(self.replicas)),
            health={key: ReplicaHealth(health=health) for key, health in self.health.items()},
            routes=dict(self.routes) if routes_known else {},
            taken_at_s=taken_s,
            routes_known=routes_known,
        )
        fresh = list(self.core.observe(observation, self.now_s))
        self.orders += fresh
        return fresh

    def carry_out(self, kind: type[commands.Command] | None = None, error: FairleadError | None = None) -> list[str]:
        """Carry out the waiting commands (of one kind): their keys."""
        chosen = [order for order in self.orders if kind is None or isinstance(order.command, kind)]
        self.orders = [order for order in self.orders if order not in chosen]
        for order in chosen:
            if error is None:
                self.effect(order)
            self.core.settle(PROJECT, order.intent, order.command, error, self.now_s)
        return [order.command.key for order in chosen]

    def effect(self, order: Order) -> None:
        """What the command does to the world."""
        match order.command:
            case commands.StartReplica(replica_id=key) as start:
                if key not in self.replicas:
                    number = int(key.rpartition(".")[2])
                    self.replicas[key] = ObservedReplica(
                        id=key,
                        project=PROJECT,
                        service=start.service,
                        revision_id=start.revision_id,
                        slot=start.slot,
                        generation=start.generation,
                        state=ReplicaState.RUNNING,
                        addresses={8000: Address(host="127.0.0.1", port=9000 + number)},
                    )
                    self.health[key] = Health.STARTING
            case commands.StopReplica(replica_id=key):
                if key in self.replicas and self.replicas[key].state is ReplicaState.RUNNING:
                    self.signalled.append(key)
                    self.end(key, code=0)
            case commands.RemoveReplica(replica_id=key):
                self.replicas.pop(key, None)
                self.health.pop(key, None)
            case commands.ApplyRoutes(routes=routes):
                self.routes = {
                    route.key: RouteStatus(
                        key=route.key,
                        listening=True,
                        endpoints=tuple(
                            EndpointStatus(replica_id=e.replica_id, state=e.state, weight=e.weight)
                            for e in route.endpoints
                        ),
                    )
                    for route in routes
                }

    def end(self, key: str, code: int = 1, cause: ExitCause = ExitCause.EXITED) -> None:
        """A replica ends."""
        ended = Exit(cause=cause, code=code)
        self.replicas[key] = replace(self.replicas[key], state=ReplicaState.EXITED, exit=ended)
        self.health.pop(key, None)

    def open(self, replica_id: str, requests: int = 0, streams: int = 0) -> None:
        """The proxy has that much open towards a replica."""
        for key, route in self.routes.items():
            endpoints = tuple(
                replace(e, in_flight=requests + streams, streams=streams) if e.replica_id == replica_id else e
                for e in route.endpoints
            )
            self.routes[key] = replace(route, endpoints=endpoints)

    def run(self, looks: int = 80, *, bad: frozenset[str] = frozenset()) -> None:
        """Let everything go well, but for replicas of the revisions in ``bad``, which never get ready."""
        for _ in range(looks):
            for key, replica in self.replicas.items():
                if replica.state is ReplicaState.RUNNING and replica.revision_id not in bad:
                    self.health[key] = Health.READY
            self.look()
            self.carry_out()

    # Reading

    def service(self, name: str = "api") -> ServiceState:
        return self.core.book(PROJECT).services[name]

    def instances(self, name: str = "api") -> dict[str, Instance]:
        return {instance.id: instance for instance in self.service(name).instances}

    def phases(self, name: str = "api") -> dict[str, str]:
        return {key: str(instance.phase) for key, instance in self.instances(name).items()}

    def pool(self) -> set[str]:
        """Who gets requests."""
        return {
            e.replica_id for route in self.routes.values() for e in route.endpoints if e.state is EndpointState.READY
        }

    def asked(self) -> list[str]:
        """The keys of the commands that wait."""
        return [order.command.key for order in self.orders]
