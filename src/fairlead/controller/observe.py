"""Look at one project: what its engine, its router and its probes say, as one frozen snapshot.

Used by `driver`. Also keeps the probes on exactly those replicas that run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fairlead import logs
from fairlead.controller.book import Book
from fairlead.engines.base import Engine
from fairlead.errors import FairleadError
from fairlead.observed import Observation, ObservedReplica, ReplicaState
from fairlead.probes.base import ProbeTarget
from fairlead.probes.runner import HealthMonitor
from fairlead.rollout.states import InstancePhase
from fairlead.routers.base import Router
from fairlead.routing import Reach, RouteStatus
from fairlead.spec.model import Service

_log = logs.room("controller.observe")

_PROBED = frozenset({InstancePhase.CREATING, InstancePhase.STARTING, InstancePhase.READY, InstancePhase.DRAINING})


async def observe(book: Book, engine: Engine, router: Router, monitor: HealthMonitor, now_s: float) -> Observation:
    """The project of ``book``, looked at from ``now_s`` on.

    :raises EngineError: the engine does not answer, so that nothing is known.
    """
    replicas = await engine.observe(book.name)
    await _probe(book, replicas, engine, router, monitor)
    health = monitor.health()
    listed = {replica.id for replica in replicas}
    # A replica that this list leaves out may still answer its probes.
    left_out = {i.id for state in book.services.values() for i in state.instances} - listed
    known = listed | {replica_id for replica_id in left_out if monitor.asks(replica_id)}
    routes = await _routes(book, router)
    return Observation(
        project=book.name,
        replicas=replicas,
        health={key: health[key] for key in sorted(known) if key in health},
        routes=routes or {},
        taken_at_s=now_s,
        routes_known=routes is not None,
    )


async def _routes(book: Book, router: Router) -> Mapping[str, RouteStatus] | None:
    """What the proxy says; None where it does not answer: then nothing about it is confirmed."""
    if not any(definition.routes for definition in book.definitions.values()):
        return {}
    try:
        return await router.observe(book.name)
    except FairleadError as error:
        _log.warning("the router does not answer", project=book.name, error=error.message)
        return None


async def _probe(
    book: Book, replicas: tuple[ObservedReplica, ...], engine: Engine, router: Router, monitor: HealthMonitor
) -> None:
    phases = {i.id: i.phase for state in book.services.values() for i in state.instances}
    try:
        reach = await router.reach()
    except FairleadError as error:
        _log.warning("replicas cannot be probed", project=book.name, error=error.message)
        return
    for replica in replicas:
        service = _service(book, replica)
        if replica.state is ReplicaState.RUNNING and service and phases.get(replica.id) in _PROBED:
            monitor.watch(replica.id, service, _target(replica, service, engine, reach))
        else:
            monitor.forget(replica.id)


def _service(book: Book, replica: ObservedReplica) -> Service | None:
    definition = book.definitions.get(replica.revision_id)
    return definition.revision.service if definition else None


def _target(replica: ObservedReplica, service: Service, engine: Engine, reach: Reach | None) -> ProbeTarget:
    first = next((p.target for p in service.ports if p.target in replica.addresses), None)
    if first is None:
        first = next(iter(sorted(replica.addresses)), None)

    return ProbeTarget(
        replica_id=replica.id,
        address=replica.addresses[first] if first is not None else None,
        addresses=replica.addresses,
        run=partial(engine.run, replica.id),
        native_health=replica.native_health,
        native_check=replica.native_check,
        reach=reach,
    )
